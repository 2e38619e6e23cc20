//! Where a trade's time goes: the mean of each stage while a row was measured, from the histograms in `/metrics`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bazaar_tests::Name;

use super::Bazaar;

/// The stages in the order in which a trade meets them: its name, whose metric, and which.
pub const STAGES: [(&str, Part, &str); 12] = [
    ("request", Part::Frontend, "bazaar_frontend_request_seconds{type=\"trade\"}"),
    ("queue", Part::Frontend, "bazaar_frontend_gateway_queue_seconds"),
    ("call", Part::Frontend, "bazaar_frontend_gateway_call_seconds"),
    ("propose", Part::Leader, "bazaar_order_propose_seconds"),
    ("append", Part::Leader, "bazaar_log_append_seconds"),
    ("fsync", Part::Leader, "bazaar_log_fsync_seconds"),
    ("replicate", Part::Leader, "bazaar_order_replicate_seconds"),
    ("apply", Part::Leader, "bazaar_order_apply_seconds"),
    ("release", Part::Leader, "bazaar_order_release_seconds"),
    ("publish", Part::Leader, "bazaar_order_publish_seconds"),
    ("write", Part::Catalog, "bazaar_catalog_write_seconds"),
    ("invalidate", Part::Catalog, "bazaar_catalog_ack_wait_seconds"),
];

/// Whose metric a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The frontend.
    Frontend,
    /// The leader.
    Leader,
    /// The catalog.
    Catalog,
}

/// Sum in seconds and number of the observations of each stage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stages(BTreeMap<&'static str, (f64, f64)>);

impl Stages {
    /// The mean of each stage between an earlier look and this one, in microseconds; stages that nothing went through are
    /// left out.
    pub fn means_us_since(&self, before: &Self) -> BTreeMap<String, f64> {
        let mean = |(stage, (sum, count)): (&&'static str, &(f64, f64))| {
            let (sum_before, count_before) = before.0.get(stage).copied().unwrap_or_default();
            let passed = count - count_before;
            (passed > 0.0).then(|| ((*stage).to_owned(), (sum - sum_before) / passed * 1e6))
        };
        self.0.iter().filter_map(mean).collect()
    }

    fn note(&mut self, part: Part, text: &str) {
        for (stage, _, metric) in STAGES.into_iter().filter(|(_, of, _)| *of == part) {
            if let (Some(sum), Some(count)) = (sample(text, metric, "_sum"), sample(text, metric, "_count")) {
                self.0.insert(stage, (sum, count));
            }
        }
    }
}

/// The value of a metric's `_sum` or `_count`, in the form of Prometheus.
fn sample(text: &str, metric: &str, suffix: &str) -> Option<f64> {
    let (name, labels) = metric.split_at(metric.find('{').unwrap_or(metric.len()));
    let wanted = format!("{name}{suffix}{labels} ");
    text.lines().find_map(|line| line.strip_prefix(&wanted)?.parse().ok())
}

impl Bazaar {
    /// What the stages have counted so far.
    ///
    /// # Errors
    /// If a process does not answer.
    pub async fn stages(&self) -> Result<Stages> {
        let cluster = self.cluster();
        let leader = Name::Replica(cluster.leader().await?);
        let mut stages = Stages::default();
        for (part, name) in
            [(Part::Frontend, Name::Frontend(1)), (Part::Leader, leader), (Part::Catalog, Name::Catalog)]
        {
            let answer = cluster.client().get(cluster.metrics_url(name)).send().await;
            let answer = answer.and_then(reqwest::Response::error_for_status);
            let text = answer.context("the metrics cannot be read")?.text().await?;
            stages.note(part, &text);
        }
        Ok(stages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_of_what_passed_between_two_looks() {
        let look = |sum: f64, count: u64| {
            let mut stages = Stages::default();
            stages.note(
                Part::Frontend,
                &format!(
                    "# TYPE bazaar_frontend_request_seconds histogram\n\
                     bazaar_frontend_request_seconds_sum{{type=\"lookup\"}} 99\n\
                     bazaar_frontend_request_seconds_sum{{type=\"trade\"}} {sum}\n\
                     bazaar_frontend_request_seconds_count{{type=\"trade\"}} {count}\n\
                     bazaar_frontend_gateway_queue_seconds_sum 1\n\
                     bazaar_frontend_gateway_queue_seconds_count 4\n"
                ),
            );
            stages
        };
        let means = look(1.5, 300).means_us_since(&look(0.5, 100));
        assert_eq!(means, BTreeMap::from([("request".to_owned(), 5_000.0)]), "nothing new was queued");
    }
}
