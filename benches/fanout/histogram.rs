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
        self.buckets[bucket(value)] += times;
        self.total += times;
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.total += other.total;
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
