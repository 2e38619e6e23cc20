//! How the words look in the description of the HTTP interfaces; the bodies of [`crate::api`] derive theirs from these.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

use crate::{
    limits::{KEY_BYTES_MAX, PRICE_CENTS_MAX, STOCK_NAME_BYTES_MAX, TRADE_QUANTITY_MAX},
    words::{Cents, IdempotencyKey, Quantity, StockName},
};

/// Text of so many of these characters.
fn text(characters: &str, bytes_max: usize) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(format!("^{characters}{{1,{bytes_max}}}$")))
        .min_length(Some(1))
        .max_length(Some(bytes_max))
}

macro_rules! described {
    ($word:ty, $name:literal, $schema:expr) => {
        impl PartialSchema for $word {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }
        impl ToSchema for $word {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    };
}

described!(
    StockName,
    "StockName",
    text("[A-Za-z0-9._-]", STOCK_NAME_BYTES_MAX).description(Some("The name of a stock.")).examples(["GameStart"])
);
described!(
    IdempotencyKey,
    "IdempotencyKey",
    text("[ -~]", KEY_BYTES_MAX)
        .description(Some("The key of a trade: whatever is sent under it happens at most once."))
        .examples(["0192f0c4-6d1e-7a3b-9f1e-2c5d8e4b7a60"])
);
described!(
    Quantity,
    "Quantity",
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1_u64))
        .maximum(Some(TRADE_QUANTITY_MAX))
        .description(Some("The quantity of one trade, written without a point and an exponent."))
        .examples([3])
);
described!(
    Cents,
    "Price",
    ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(0_u64))
        .maximum(Some(PRICE_CENTS_MAX / 100))
        .description(Some("The price of one, with two decimals."))
        .examples([15.99])
);

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        api::{OrderPage, StockView, TradeBatchBody},
        limits::{BATCH_TRADES_MAX, PAGE_ORDERS_MAX, STOCK_QUANTITY_MAX},
    };

    fn property<T: PartialSchema>(name: &str) -> Value {
        serde_json::to_value(T::schema()).unwrap()["properties"][name].clone()
    }

    /// The descriptions of these are derived, and take no names for numbers.
    #[test]
    fn descriptions_name_the_limits_as_they_are() {
        assert_eq!(property::<TradeBatchBody>("orders")["maxItems"], BATCH_TRADES_MAX);
        assert_eq!(property::<OrderPage>("data")["maxItems"], PAGE_ORDERS_MAX);
        for name in ["quantity", "trade_volume"] {
            assert_eq!(property::<StockView>(name)["maximum"].as_f64(), Some(STOCK_QUANTITY_MAX as f64), "{name}");
        }
    }
}
