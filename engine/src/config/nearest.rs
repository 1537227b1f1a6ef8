//! Finding the name that a misspelt one was probably meant to be.

/// The candidate that is closest to `got`, unless none is near enough to be a likely misspelling.
pub fn nearest<'a>(got: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A longer text is no misspelling of a setting, and the work is quadratic in the length.
    if got.len() > 128 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(got, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(2))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance in bytes.
fn edit_distance(left: &str, right: &str) -> usize {
    let right = right.as_bytes();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, byte) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not_offered() {
        let names = [
            "retention.ms",
            "retention.bytes",
            "segment.ms",
            "num.partitions",
        ];
        let table = [
            ("retention.m", Some("retention.ms")),
            ("retetnion.bytes", Some("retention.bytes")),
            ("num.partition", Some("num.partitions")),
            ("colour", None),
            ("", None),
        ];
        for (got, expected) in table {
            assert_eq!(nearest(got, names), expected, "{got}");
        }
        assert_eq!(nearest(&"x".repeat(1_000), names), None);
    }
}
