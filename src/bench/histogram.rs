//! A histogram of latencies: 32 buckets for each power of two, so a percentile is right to about 3 %.

const BITS: u32 = 5;
const PER_POWER: usize = 1 << BITS;

/// Counts of values (nanoseconds, up to any size).
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; PER_POWER * (64 - BITS as usize + 1)],
            total: 0,
        }
    }
}

/// Values below 32 have a bucket each; above, the highest six bits of a value choose its bucket.
fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - BITS - 1).saturating_sub(value.leading_zeros());
    shift as usize * PER_POWER + (value >> shift) as usize
}

/// The largest value of a bucket.
fn largest(bucket: usize) -> u64 {
    let shift = (bucket / PER_POWER).saturating_sub(1);
    let first = ((bucket - shift * PER_POWER) as u64) << shift;
    first + ((1 << shift) - 1)
}

impl Histogram {
    /// Counts a value so many times.
    pub fn record(&mut self, value: u64, times: u64) {
        // Every value has a bucket.
        if let Some(count) = self.buckets.get_mut(bucket(value)) {
            *count += times;
            self.total += times;
        }
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest value of each bucket that is not empty, and how many values are in it, from the lowest on.
    pub fn filled(&self) -> impl Iterator<Item = (u64, u64)> {
        let buckets = self.buckets.iter().enumerate();
        buckets
            .filter(|(_, count)| **count > 0)
            .map(|(index, count)| (largest(index), *count))
    }

    /// The value that this share of all values (0 to 1) does not exceed; 0 where there are none.
    pub fn percentile(&self, share: f64) -> u64 {
        let rank = (self.total as f64 * share).max(1.0);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen as f64 >= rank {
                return largest(index);
            }
        }
        0
    }
}

/// Values from one place to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Above this.
    pub from: f64,
    /// Up to this.
    pub to: f64,
    /// How many.
    pub count: u64,
}

/// Puts values and how often they came, from the lowest on, into as many bars for each power of ten. Between the first and the
/// last bar none is left out.
pub fn coarse(values: &[(f64, u64)], for_each_power: f64) -> Vec<Bar> {
    let place = |value: f64| (value.max(1e-9).log10() * for_each_power).floor() as i32;
    let edge = |place: i32| 10_f64.powf(f64::from(place) / for_each_power);
    let mut bars: Vec<Bar> = Vec::new();
    let mut next = None;
    for (value, count) in values {
        let at = place(*value);
        for empty in next.unwrap_or(at)..=at {
            bars.push(Bar {
                from: edge(empty),
                to: edge(empty + 1),
                count: 0,
            });
        }
        next = Some(at + 1).max(next);
        if let Some(bar) = bars.last_mut() {
            bar.count += count;
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_hold_every_value_and_leave_none_out_between() {
        let values = [(1.0, 2), (1.5, 3), (9.0, 1), (250.0, 4)];
        let bars = coarse(&values, 2.0);
        let counts: Vec<u64> = bars.iter().map(|bar| bar.count).collect();
        assert_eq!(counts, [5, 1, 0, 0, 4]);
        assert!(bars.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert_eq!(coarse(&[], 2.0), []);
    }

    #[test]
    fn what_was_counted_can_be_read_again() {
        let mut histogram = Histogram::default();
        histogram.record(5, 2);
        histogram.record(1_000_000, 3);
        let filled: Vec<(u64, u64)> = histogram.filled().collect();
        assert_eq!(filled[0], (5, 2));
        assert!(filled[1].0 >= 1_000_000 && filled[1].1 == 3);
        assert_eq!((filled.len(), histogram.total()), (2, 5));
    }
}
