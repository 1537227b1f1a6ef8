//! The limits of `benches/limits.toml`.

use std::collections::BTreeMap;
use std::path::Path;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    limit: f64,
    #[expect(dead_code, reason = "it is there for people")]
    unit: String,
    #[expect(dead_code, reason = "it is there for people")]
    reason: String,
}

/// Prints measured values for `benches/gates`, and fails if any is above its limit.
pub(crate) fn check(measured: &[(String, f64)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("limits.toml");
    let text = std::fs::read_to_string(&path).expect("the limits are there");
    let limits: BTreeMap<String, Bound> = toml::from_str(&text).expect("the limits are sound");
    let mut above = Vec::new();
    for (name, value) in measured {
        println!("measured {name} {value:.3}");
        match limits.get(name) {
            Some(bound) if *value <= bound.limit => {}
            Some(bound) => above.push(format!(
                "{name}: {value:.3} is above the limit of {}",
                bound.limit
            )),
            None => above.push(format!("{name}: no limit in {}", path.display())),
        }
    }
    assert!(above.is_empty(), "{}", above.join("\n"));
}
