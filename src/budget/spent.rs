//! What one account has spent in its window; in a rolling window, bucket by bucket. No lock, no clock.

/// A sum, and the parts that age out one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Spent {
    /// 128 bits, so that no sum of requests overflows: taking and giving back are exact.
    sum: i128,
    /// By bucket, ascending, none of nothing. A window that does not roll has one bucket.
    buckets: Vec<(i64, i128)>,
}

impl Spent {
    pub(super) const fn new() -> Self {
        Self { sum: 0, buckets: Vec::new() }
    }

    pub(super) const fn sum(&self) -> i128 {
        self.sum
    }

    pub(super) fn add(&mut self, bucket: i64, count: i128) {
        if count == 0 {
            return;
        }
        self.sum += count;
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => {
                self.buckets[place].1 += count;
                if self.buckets[place].1 == 0 {
                    self.buckets.remove(place);
                }
            }
            Err(place) => self.buckets.insert(place, (bucket, count)),
        }
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add(*bucket, *count);
        }
    }

    /// Lets go of what is in buckets before `first`.
    pub(super) fn forget_before(&mut self, first: i64) {
        let over = self.buckets.partition_point(|(bucket, _)| *bucket < first);
        self.sum -= self.buckets.drain(..over).map(|(_, count)| count).sum::<i128>();
    }

    /// The bucket with whose end at least `count` will have aged out, if that much is there.
    pub(super) fn ages_out_with(&self, count: i128) -> Option<i64> {
        let mut gone = 0;
        self.buckets.iter().find_map(|(bucket, part)| {
            gone += part;
            (gone >= count).then_some(*bucket)
        })
    }

    pub(super) fn first_bucket(&self) -> Option<i64> {
        self.buckets.first().map(|(bucket, _)| *bucket)
    }

    /// What has to be added to `other` to make it this.
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut difference = self.clone();
        for (bucket, count) in &other.buckets {
            difference.add(*bucket, -count);
        }
        difference
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.buckets.is_empty()
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = (i64, i128)> {
        self.buckets.iter().copied()
    }
}
