//! The search for the highest rate that meets an objective: bisection between a rate that met it and one that did not.
//!
//! Pure: rates out, verdicts in. Steps are ratios, for load is felt in ratios; the search ends when the two rates lie
//! within the precision of each other, or when nothing down to a thousandth of the ceiling met the objective.

/// The lowest rate that is tried, as a part of the ceiling.
const FLOOR_SHARE: f64 = 1.0 / 1_024.0;

/// A search under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    ceiling: f64,
    precision: f64,
    met: Option<f64>,
    missed: f64,
}

impl Search {
    /// Between nothing and `ceiling` (which counts as missed), until the answer is known within `precision`, as 0.05.
    pub fn new(ceiling: f64, precision: f64) -> Self {
        Self {
            ceiling,
            precision: precision.max(0.001),
            met: None,
            missed: ceiling,
        }
    }

    /// The next rate to try; `None` when the search is over.
    pub fn next_rate(&self) -> Option<f64> {
        match self.met {
            // Halfway first: most systems hold half of what they can take.
            None => (self.missed > self.ceiling * FLOOR_SHARE).then_some(self.missed / 2.0),
            Some(met) => {
                (self.missed / met > 1.0 + self.precision).then(|| (met * self.missed).sqrt())
            }
        }
    }

    /// What came of a rate.
    pub fn record(&mut self, rate: f64, met: bool) {
        if met {
            self.met = Some(self.met.map_or(rate, |before| before.max(rate)));
        } else {
            self.missed = self.missed.min(rate);
            // Noise may let a rate be missed that a higher one met: the lower one is believed.
            self.met = self.met.filter(|before| *before < rate);
        }
    }

    /// The highest rate that met the objective so far.
    pub fn best(&self) -> Option<f64> {
        self.met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a system that meets its objective up to `limit`. Returns the answer and the number of steps.
    fn search(ceiling: f64, limit: f64) -> (Option<f64>, usize) {
        let mut search = Search::new(ceiling, 0.05);
        let mut steps = 0;
        while let Some(rate) = search.next_rate() {
            search.record(rate, rate <= limit);
            steps += 1;
            assert!(steps < 100, "the search does not end");
        }
        (search.best(), steps)
    }

    #[test]
    fn the_answer_is_met_and_within_the_precision() {
        for limit in [1.0, 10.0, 123.0, 499.0, 501.0, 900.0, 5_000.0] {
            let (best, steps) = search(1_000.0, limit);
            let best = best.unwrap();
            assert!(best <= limit, "{limit}: {best}");
            assert!(best >= limit.min(1_000.0) / 1.051, "{limit}: {best}");
            assert!(steps <= 16, "{limit}: {steps} steps");
        }
    }

    #[test]
    fn a_system_that_never_meets_it_ends_the_search_without_an_answer() {
        assert_eq!(search(1_000.0, 0.0), (None, 10));
    }

    #[test]
    fn a_lower_rate_that_is_missed_takes_back_a_higher_one_that_was_met() {
        let mut search = Search::new(100.0, 0.05);
        search.record(50.0, true);
        search.record(40.0, false);
        assert_eq!(search.best(), None);
        assert_eq!(search.next_rate(), Some(20.0));
    }
}
