//! What one run of a load generator says.

use serde::{Deserialize, Serialize};

/// The figures that all load generators give. Other fields of their answers are not read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Operations that succeeded.
    pub operations: u64,
    /// Operations a second.
    pub rate_per_s: f64,
    /// Half of the requests were faster.
    pub p50_ms: f64,
    /// 99 in 100 were faster.
    pub p99_ms: f64,
    /// Operations that failed.
    pub errors: u64,
    /// Attempts that another client was faster than, for each operation; only where a load has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflicts_per_operation: Option<f64>,
}
