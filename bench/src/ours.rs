//! The rows of the service.

use anyhow::{Result, bail};

use crate::{
    args::Args,
    bazaar::{Bazaar, Load, bare::Bare},
    document::Document,
    goals::COSTS,
    plan::{BARE, LOOKUPS, Row, Work},
    point::Point,
    progress::say,
    repeat::{Timing, repeat, repeats},
    soak::Soak,
};

/// Order reads need orders to read.
const READABLE_ORDERS_MIN: u64 = 100_000;
/// The same for a quick run.
const READABLE_ORDERS_QUICK_MIN: u64 = 1_000;

/// Measures a fresh cluster.
///
/// # Errors
/// If it does not start, a load fails, or something got lost.
pub async fn measure_ours(args: &Args, wanted: &[&Row], document: &mut Document) -> Result<()> {
    say("starting a fresh cluster");
    let bazaar = Bazaar::start().await?;
    if args.orders > 0 {
        say(&format!("filling it with {} orders", args.orders));
        document.orders_at_start = bazaar.fill(args.orders).await?;
    }
    if let Some(minutes) = args.soak {
        document.soak.insert(Soak::default()).run(&bazaar, minutes).await?;
    } else {
        for row in wanted {
            measure_row(&bazaar, row, document).await?;
        }
    }
    bazaar.check_books().await
}

async fn measure_row(bazaar: &Bazaar, row: &Row, document: &mut Document) -> Result<()> {
    let Work::Bazaar(load) = row.work else { bail!("{} is a row of a peer", row.name) };
    let timing = document.timing;
    let term = bazaar.standing().await?.term;
    if load.kind == "order" {
        bazaar.fill(if timing == Timing::QUICK { READABLE_ORDERS_QUICK_MIN } else { READABLE_ORDERS_MIN }).await?;
    }
    if row.name == LOOKUPS {
        lookups(bazaar, load, row, document).await?;
    } else {
        let groups = bazaar.groups().await?;
        let stages = bazaar.stages().await?;
        let repeats = repeats(&groups, timing, async |duration_s| bazaar.load(load, duration_s, None).await).await?;
        let mut point = Point::new(&row.name, row.clients, repeats).with_memory(&groups)?;
        // After an election the two looks were at different leaders.
        if load.kind == "trade" && bazaar.standing().await?.term == term {
            point.stages_us = bazaar.stages().await?.means_us_since(&stages);
        }
        document.add(point);
    }
    if row.name == COSTS {
        document.order_bytes = Some(bazaar.order_bytes().await?);
    }
    if bazaar.standing().await?.term != term {
        document
            .notes
            .push(format!("there was an election during {}: leader and followers are mixed up in it", row.name));
    }
    Ok(())
}

/// Lookups and the bare server in turn, so that a change of the machine's mood meets both.
async fn lookups(bazaar: &Bazaar, load: Load, row: &Row, document: &mut Document) -> Result<()> {
    let timing = document.timing;
    let bare = Bare::start(bazaar).await?;
    let url = bare.url();
    let (our_groups, bare_groups) = (bazaar.groups().await?, bare.groups());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    bazaar.load(load, timing.warm_up_s, None).await?;
    bazaar.load(load, timing.warm_up_s, Some(&url)).await?;
    for _ in 0..timing.repeats {
        ours.push(repeat(&our_groups, bazaar.load(load, timing.duration_s, None)).await?);
        theirs.push(repeat(&bare_groups, bazaar.load(load, timing.duration_s, Some(&url))).await?);
    }
    document.add(Point::new(&row.name, row.clients, ours).with_memory(&our_groups)?);
    document.add(Point::new(BARE, row.clients, theirs).with_memory(&bare_groups)?);
    Ok(())
}
