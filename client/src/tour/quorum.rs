//! The chapter about the quorum: what happens to a trade when no majority is left, and that it happens once.

use std::time::{Duration, Instant};

use anyhow::Result;
use bazaar_domain::ReplicaId;

use super::{Ran, Tour};
use crate::{exit::Exit, output::counted, whole::whole};

/// What is bought.
const BOUGHT: &str = "2";
/// How long the trade may need once a majority is back.
const TRADE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(500);

impl Tour<'_> {
    pub(super) async fn lose_the_quorum(&mut self) -> Result<()> {
        let leader = whole(&self.replicas).await?;
        let victims = victims(&self.replicas.iter().map(|replica| replica.id).collect::<Vec<_>>(), leader);
        let what = format!(
            "{} of {} replicas are killed, so no majority is left to decide: a trade must be refused, or be answered as\n\
             unknown, and never be called failed if it may still happen. Its key makes it safe to send it again.",
            victims.len(),
            self.replicas.len()
        );
        self.stage.chapter("5 of 6: losing the quorum on purpose", &what).await?;
        for id in &victims {
            self.kill(*id).await?;
        }
        let (stock, key) = (self.stock.to_string(), self.key("quorum")?);
        let trade = ["trade", "buy", stock.as_str(), BOUGHT, "--key", key.as_str()];
        let without = self.bazaar(&trade).await?;
        self.bazaar(&["status"]).await?;
        let said = honest_word(&without);
        self.promise(
            "without a quorum the answer is honest",
            said.is_some(),
            said.unwrap_or("it was answered").to_owned(),
        );

        let (first, rest) = victims.split_first().expect("somebody was killed");
        self.bring_back(*first).await?;
        let deadline = Instant::now() + TRADE_TIMEOUT;
        while self.bazaar(&trade).await?.code != 0 && Instant::now() < deadline {
            tokio::time::sleep(TRY_PAUSE).await;
        }
        let order = self.order_of(&key).await?;
        self.must_succeed(&trade).await?;
        let is_same = self.order_of(&key).await? == order;
        let number = order.number;
        self.promise(
            "sent again with its key, it happens once",
            is_same,
            format!("order {number}, also when sent once more"),
        );
        self.acknowledge(order);
        for id in rest {
            self.bring_back(*id).await?;
        }
        whole(&self.replicas).await?;
        let dead = counted(victims.len() as u64, "replica");
        self.stage.meaning(&format!(
            "With {dead} dead nothing was promised; with one of them back it is order {number}, once."
        ));
        Ok(())
    }
}

/// As few followers as leave no majority, highest numbers first.
fn victims(replicas: &[ReplicaId], leader: ReplicaId) -> Vec<ReplicaId> {
    let majority = replicas.len() / 2 + 1;
    let followers = replicas.iter().rev().copied().filter(|id| *id != leader);
    followers.take(replicas.len() + 1 - majority).collect()
}

/// What an answer without a quorum said, if it was one that keeps the promise.
fn honest_word(ran: &Ran) -> Option<&'static str> {
    match u8::try_from(ran.code) {
        Ok(code) if code == Exit::Unavailable.code() => Some("refused, nothing was traded (exit code 3)"),
        Ok(code) if code == Exit::Unknown.code() => Some("outcome unknown, with its key (exit code 4)"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::victims;

    #[test]
    fn as_few_followers_die_as_leave_no_majority() {
        assert_eq!(victims(&[1, 2, 3], 3), [2, 1]);
        assert_eq!(victims(&[1, 2, 3], 2), [3, 1]);
        assert_eq!(victims(&[1, 2, 3, 4, 5], 1), [5, 4, 3]);
    }
}
