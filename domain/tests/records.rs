//! Records, errors and configuration files.

use bazaar_domain::{
    ApiError, Cents, Command, ErrorKind, IdempotencyKey, Order, Outcome, Quantity, Rejection, Side, StockName, Trade,
    api::{ErrorBody, trade_answer},
    codec::{DecodeError, RECORD_VERSION, decode, encode},
    config::{ClusterConfig, parse_stocks},
    digest::Digest,
    order::Decision,
};
use proptest::prelude::*;

fn order(number: u64) -> Order {
    Order {
        number,
        key: IdempotencyKey::new("k").unwrap(),
        name: StockName::new("S").unwrap(),
        side: Side::Buy,
        quantity: Quantity::new(3).unwrap(),
        price: Cents::new(1_599).unwrap(),
        stock_version: 2,
        log_index: 7,
    }
}

#[test]
fn a_record_begins_with_its_version_and_reads_back() {
    let bytes = encode(&order(1));
    assert_eq!(bytes[0], RECORD_VERSION);
    assert_eq!(decode::<Order>(&bytes).unwrap(), order(1));
}

#[test]
fn a_record_of_another_version_or_length_is_refused() {
    let mut bytes = encode(&order(1));
    bytes.push(0);
    assert!(matches!(decode::<Order>(&bytes), Err(DecodeError::Trailing(1))));
    bytes.truncate(bytes.len() - 2);
    assert!(matches!(decode::<Order>(&bytes), Err(DecodeError::Damaged(_))));
    bytes[0] = RECORD_VERSION + 1;
    assert!(matches!(decode::<Order>(&bytes), Err(DecodeError::Version { .. })));
    assert!(matches!(decode::<Order>(&[]), Err(DecodeError::Empty)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<Command>(&bytes);
        let _ = decode::<Order>(&bytes);
    }

    #[test]
    fn trades_survive_the_way_through_a_record(keys in prop::collection::vec("[ -~]{1,255}", 0..20), quantity in 1..1_000_000_000_u64) {
        let trades = keys.iter().map(|key| Trade {
            key: IdempotencyKey::new(key).unwrap(),
            name: StockName::new("S").unwrap(),
            side: Side::Sell,
            quantity: Quantity::new(quantity).unwrap(),
        });
        let command = Command::Trades(trades.collect());
        prop_assert_eq!(decode::<Command>(&encode(&command)).unwrap(), command);
    }
}

#[test]
fn the_digest_depends_on_every_order_and_on_their_sequence() {
    let start = Digest::default();
    let one_two = start.extended(&order(1)).extended(&order(2));
    assert_ne!(one_two, start.extended(&order(2)).extended(&order(1)));
    assert_ne!(one_two, start.extended(&order(1)));
    let changed = Order { stock_version: 3, ..order(2) };
    assert_ne!(one_two, start.extended(&order(1)).extended(&changed));
}

#[test]
fn the_two_oldest_messages_are_kept_to_the_letter() {
    assert_eq!(ApiError::from(Rejection::StockNotFound).message, "stock not found");
    let body = serde_json::to_value(ErrorBody { error: Rejection::StockNotFound.into() }).unwrap();
    let wanted = serde_json::json!({ "error": {
        "code": 404, "message": "stock not found", "kind": "stock_not_found", "outcome": "not_applied",
    }});
    assert_eq!(body, wanted);
}

#[test]
fn every_kind_of_error_is_spelled_as_it_is_serialized() {
    for kind in [ErrorKind::InvalidRequest, ErrorKind::KeyReused, ErrorKind::NoQuorum, ErrorKind::OutcomeUnknown] {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
}

#[test]
fn a_replay_answers_as_the_first_time() {
    let outcome = Outcome::Accepted { number: 7, stock_version: 12 };
    let (fresh, first) = trade_answer(&Decision::Fresh(outcome));
    let (replayed, again) = trade_answer(&Decision::Replayed(outcome));
    assert_eq!((fresh, replayed), (false, true));
    assert_eq!(first, again);
    assert_eq!(trade_answer(&Decision::KeyReused).1.unwrap_err().code, 422);
}

const CONFIG: &str = include_str!("../../config/cluster.toml");
const STOCKS: &str = include_str!("../../config/stocks.toml");

#[test]
fn the_shipped_configuration_is_the_contracts() {
    let config = ClusterConfig::parse(CONFIG).unwrap();
    assert_eq!(config.frontend.public.to_string(), "127.0.0.1:8080");
    assert_eq!(config.catalog.service.port(), 8087);
    let ports: Vec<_> = config
        .replicas
        .iter()
        .map(|replica| (replica.id, replica.service.port(), replica.peers.port(), replica.admin.port()))
        .collect();
    assert_eq!(ports, [(1, 16006, 16016, 16026), (2, 16007, 16017, 16027), (3, 16008, 16018, 16028)]);
    assert_eq!((config.frontend.cache_size, config.frontend.health_check_interval_ms), (5, 500));
    assert_eq!(config.quorum(), 2);
}

#[test]
fn the_shipped_stocks_are_ten_and_hold_the_old_four() {
    let listings = parse_stocks(STOCKS).unwrap();
    assert_eq!(listings.len(), 10);
    for name in ["GameStart", "RottenFishCo", "BoarCo", "MenhirCo"] {
        assert!(listings.iter().any(|listing| listing.name.as_str() == name), "{name}");
    }
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused_in_words() {
    let replica = "[[replica]]\nid = 1\nservice = \"127.0.0.1:1\"\npeers = \"127.0.0.1:2\"\nadmin = \"127.0.0.1:3\"\n";
    let refused = |text: String| ClusterConfig::parse(&text).unwrap_err().to_string();
    assert!(refused(format!("{replica}{replica}")).contains("replica id 1 is given twice"));
    assert!(refused(format!("[catalog]\nservice = \"127.0.0.1:2\"\n{replica}")).contains("given to both"));
    assert!(refused(format!("[leases]\nttl_ms = 100\n{replica}")).contains("ttl_ms"));
    assert!(refused(format!("[leases]\nttl = 100\n{replica}")).contains("unknown field"));
    assert!(refused("replica = []".into()).contains("no [[replica]]"));
    assert!(parse_stocks("stock = []").is_err());
    let twice = "[[stock]]\nname = \"A\"\nprice = 1\nquantity = 1\n".repeat(2);
    assert!(parse_stocks(&twice).unwrap_err().to_string().contains("given twice"));
}
