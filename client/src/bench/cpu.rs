//! What the measurement itself costs.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time of this process so far, all threads, in user mode and in the kernel.
pub fn process_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).expect("a process has not run for less than no time")
}

/// Microseconds for each of `count` requests; 0 if there were none.
pub fn micros_each(cpu: Duration, count: u64) -> f64 {
    if count == 0 { 0.0 } else { cpu.as_secs_f64() * 1e6 / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work_and_is_shared_out_evenly() {
        let before = process_cpu();
        let mut sum = 0_u64;
        while process_cpu() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert_eq!(micros_each(Duration::from_millis(3), 1_000), 3.0);
        assert_eq!(micros_each(Duration::from_millis(3), 0), 0.0);
    }
}
