//! Finds the gap that a failover left in the answers. Pure.

/// When a trade was answered, in milliseconds since 1970, with fractions.
pub type AnsweredAt = f64;

/// The longest time without an answer, among answers in any order; nothing if there are fewer than two.
pub fn longest_pause(answers: &mut [AnsweredAt]) -> Option<(AnsweredAt, AnsweredAt)> {
    answers.sort_unstable_by(f64::total_cmp);
    let pauses = answers.windows(2).map(|pair| (pair[0], pair[1]));
    pauses.max_by(|one, other| (one.1 - one.0).total_cmp(&(other.1 - other.0)))
}

/// The value in the middle; of an even count, the mean of the two.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[values.len() / 2 - 1], upper) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_is_found_whatever_the_order() {
        assert_eq!(longest_pause(&mut [5.0, 1.0, 2.0, 90.0, 6.0]), Some((6.0, 90.0)));
        assert_eq!(longest_pause(&mut [1.0]), None);
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 90.0]), Some(3.0));
        assert_eq!(median([]), None);
    }
}
