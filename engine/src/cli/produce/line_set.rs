//! Line numbers as people write them: `3-5, 9`.

use std::fmt;

/// A set of line numbers that shows itself as ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineSet {
    lines: Vec<u64>,
}

impl LineSet {
    /// Ranges shown before the rest is only counted.
    const RANGES_MAX: usize = 10;

    /// Adds lines, each of which is not yet in it.
    pub(crate) fn extend(&mut self, lines: impl IntoIterator<Item = u64>) {
        self.lines.extend(lines);
        self.lines.sort_unstable();
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Inclusive ranges, in order.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for line in &self.lines {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *line => *last = *line,
                _ => ranges.push((*line, *line)),
            }
        }
        ranges
    }
}

impl fmt::Display for LineSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.ranges();
        f.write_str(if self.len() == 1 { "line " } else { "lines " })?;
        for (index, (first, last)) in ranges.iter().take(Self::RANGES_MAX).enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if first == last {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first}-{last}")?;
            }
        }
        let hidden: u64 = ranges
            .iter()
            .skip(Self::RANGES_MAX)
            .map(|(first, last)| last - first + 1)
            .sum();
        if hidden > 0 {
            write!(f, " and {hidden} more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined() {
        let table: [(&[u64], &str); 5] = [
            (&[7], "line 7"),
            (&[1, 2, 3], "lines 1-3"),
            (&[9, 3, 5, 4], "lines 3-5, 9"),
            (&[1, 3], "lines 1, 3"),
            (
                &[1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 22, 25],
                "lines 1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and 3 more",
            ),
        ];
        for (lines, expected) in table {
            let mut set = LineSet::default();
            set.extend(lines.iter().copied());
            assert_eq!(set.to_string(), expected);
        }
    }
}
