//! `bazaar orders --follow`: the stream of the frontend, taken up again wherever it breaks off.

use std::time::Duration;

use anyhow::{Result, bail};
use bazaar_domain::api::OrderView;
use tokio::time::{sleep, timeout};

use super::{
    OrdersArgs,
    events::{Event, Reader},
    list::newest,
};
use crate::{
    Context,
    api::{Failure, Frontend, explained},
    output::Printer,
    retry::passes_by_itself,
    terminal::{print_hint, print_note, write_line},
};

/// A stream that brings not even a comment for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Wait before the first try to connect again; doubled after each that fails.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How a stream ended.
enum End {
    /// It broke off, and can be taken up again.
    Broken(String),
    /// Nobody reads any more, or all that was asked for is shown.
    Done,
}

/// Shows orders until nobody reads them any more.
///
/// # Errors
/// If the frontend does not answer at the start, refuses, or leaves a number out.
pub(super) async fn run(context: &Context, args: &OrdersArgs) -> Result<()> {
    let frontend = &context.frontend;
    let after = match args.after {
        Some(after) => after,
        None => newest(frontend).await.map_err(|failure| explained(frontend, &failure))?,
    };
    let mut shown = Shown { args, printer: context.printer, last: after, count: 0 };
    print_hint(&format!("waiting for orders behind number {after}; Ctrl-C ends it"));
    let mut wait = WAIT_FIRST;
    let mut was_connected = false;
    loop {
        let before = shown.last;
        let why = match one_stream(frontend, &mut shown, &mut was_connected).await {
            Ok(End::Done) => return Ok(()),
            Ok(End::Broken(why)) => why,
            Err(Problem::Request(failure)) if was_connected && passes_by_itself(&failure) => failure.to_string(),
            Err(Problem::Request(failure)) => return Err(explained(frontend, &failure)),
            Err(Problem::Promise(text)) => bail!("{text}; look at 'bazaar check'"),
        };
        wait = if shown.last > before { WAIT_FIRST } else { (wait * 2).min(WAIT_MAX) };
        print_note(&format!(
            "the stream broke off behind order {} ({why}); connecting again in {} ms",
            shown.last,
            wait.as_millis()
        ));
        sleep(wait).await;
    }
}

/// Why following cannot go on as it is.
enum Problem {
    /// The request failed.
    Request(Failure),
    /// What came is not what is promised.
    Promise(String),
}

/// One connection, from its beginning to its end.
async fn one_stream(frontend: &Frontend, shown: &mut Shown<'_>, was_connected: &mut bool) -> Result<End, Problem> {
    let mut answer = frontend.order_stream(shown.last).await.map_err(Problem::Request)?;
    *was_connected = true;
    let mut reader = Reader::default();
    loop {
        let piece = match timeout(SILENCE_MAX, answer.chunk()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok(End::Broken("it ended".into())),
            Ok(Err(error)) => return Ok(End::Broken(Failure::from(error).to_string())),
            Err(_) => return Ok(End::Broken(format!("nothing came for {} s", SILENCE_MAX.as_secs()))),
        };
        for event in reader.take(&piece).map_err(Problem::Promise)? {
            if shown.take(&event).map_err(Problem::Promise)? {
                return Ok(End::Done);
            }
        }
    }
}

/// What was shown so far.
struct Shown<'a> {
    args: &'a OrdersArgs,
    printer: Printer,
    /// The number of the last order that came.
    last: u64,
    /// How many were shown.
    count: u64,
}

impl Shown<'_> {
    /// Shows an order, if it is the next one; says whether there is nobody left to show more to.
    fn take(&mut self, event: &Event) -> Result<bool, String> {
        if event.kind != "order" {
            return Ok(false);
        }
        let order: OrderView = serde_json::from_str(&event.data)
            .map_err(|error| format!("an order of the stream cannot be read ({error})"))?;
        if order.number != self.last + 1 {
            return Err(format!("order {} came behind order {}; none may be left out", order.number, self.last));
        }
        self.last = order.number;
        if !self.args.wants(&order) {
            return Ok(false);
        }
        self.count += 1;
        let is_read = write_line(&self.printer.line(&order, || words(&order))).is_ok();
        Ok(!is_read || Some(self.count) == self.args.limit)
    }
}

fn words(order: &OrderView) -> String {
    let OrderView { number, name, side, quantity, price, stock_version, key } = order;
    format!(
        "{number:>9}  {side:<4}  {quantity:>10}  {name:<16}  {price:>10}  version {stock_version}  {key}",
        side = side.as_str(),
        quantity = quantity.get(),
        name = name.as_str(),
        price = price.to_string()
    )
}
