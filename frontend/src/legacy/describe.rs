//! What the description says of the older forms.

use bazaar_domain::{Cents, Quantity, Side, StockName, limits::STOCK_QUANTITY_MAX};
use bazaar_service::describe::{
    Body,
    schemas::{closed, object, one_word_of, text, whole, whole_to, word},
};
use serde_json::json;

/// A stock without a `data` around it.
pub(crate) fn flat() -> Body {
    Body::json_like(object([
        ("stock_name", word::<StockName>()),
        ("price", word::<Cents>()),
        ("trade_volume", whole_to(0, STOCK_QUANTITY_MAX).into()),
        ("quantity", whole_to(0, STOCK_QUANTITY_MAX).into()),
    ]))
    .example("the older form", json!({"stock_name": "GameStart", "price": 15.99, "trade_volume": 0, "quantity": 100}))
}

/// A stock that is not there.
pub(crate) fn flat_not_found() -> Body {
    let error = closed([("code", whole_to(404, 404).into()), ("message", one_word_of(["Stock not found"]).into())]);
    Body::json_like(object([("error", error.into())]))
        .example("the older form", json!({"error": {"code": 404, "message": "Stock not found"}}))
}

/// The body of a trade.
pub(crate) fn trade() -> Body {
    Body::json_like(closed([
        ("stock_name", word::<StockName>()),
        ("trade_type", word::<Side>()),
        ("quantity", word::<Quantity>()),
    ]))
    .example("the older form", json!({"stock_name": "GameStart", "trade_type": "buy", "quantity": 3}))
}

/// The same as a form.
pub(crate) fn form() -> Body {
    let form =
        closed([("name", word::<StockName>()), ("quantity", word::<Quantity>()), ("order_type", word::<Side>())]);
    Body::new("application/x-www-form-urlencoded", form)
        .example("a trade", json!({"name": "GameStart", "quantity": 3, "order_type": "buy"}))
}

/// The answer to an accepted trade.
pub(crate) fn receipt() -> Body {
    Body::json_like(object([("order_no", whole(1).into())])).example("the older form", json!({"order_no": 7}))
}

/// The answer to any other trade.
pub(crate) fn failure() -> Body {
    let none = whole(0).minimum(Some(-1)).maximum(Some(-1));
    Body::json_like(object([("order_no", none.into()), ("message", text().into())]))
        .example("the older form", json!({"order_no": -1, "message": "stock not found"}))
}

/// An order.
pub(crate) fn order() -> Body {
    Body::data_like(object([
        ("order_no", whole(1).into()),
        ("stock_name", word::<StockName>()),
        ("trade_type", word::<Side>()),
        ("quantity", word::<Quantity>()),
    ]))
    .example(
        "the older form",
        json!({"data": {"order_no": 7, "stock_name": "GameStart", "trade_type": "buy", "quantity": 3}}),
    )
}
