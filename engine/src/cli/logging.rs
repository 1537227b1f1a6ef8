//! The server's log: human-readable lines on standard error, so that standard output holds the `ready` line alone.

use std::env;
use std::io::{self, IsTerminal};

use anyhow::{Context, bail};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The variable that sets the level when no option does.
pub(crate) const LEVEL_VARIABLE: &str = "CORELANE_LOG";

const LEVEL_DEFAULT: &str = "info";

/// Starts logging at `level`, else at [`LEVEL_VARIABLE`]'s, else at `info`. A level may name targets:
/// `info,corelane_engine=debug`.
pub(crate) fn start(level: Option<&str>) -> anyhow::Result<()> {
    let (text, source) = match (level, env::var(LEVEL_VARIABLE)) {
        (Some(level), _) => (level.to_owned(), "--log-level"),
        (None, Ok(level)) if !level.trim().is_empty() => (level, LEVEL_VARIABLE),
        _ => (LEVEL_DEFAULT.to_owned(), "default"),
    };
    let filter = parse(&text).with_context(|| format!("{source} {text:?} is no log level"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none())
        .with_target(false);
    // A second subscriber can only come from a test in the same process; the first one stays.
    let _ = builder.try_init();
    Ok(())
}

fn parse(text: &str) -> anyhow::Result<EnvFilter> {
    const KNOWN: &str =
        "write off, error, warn, info, debug or trace, or TARGET=LEVEL pairs, separated by commas";
    for directive in text.split(',') {
        // The filter would take a misspelt level for the name of a target, and then log nothing.
        if !directive.contains(['=', '[']) && directive.trim().parse::<LevelFilter>().is_err() {
            bail!("{KNOWN}, not {directive:?}");
        }
    }
    EnvFilter::builder().parse(text).context(KNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_taken_and_nonsense_is_not() {
        for text in [
            "error",
            "warn",
            "info",
            "debug",
            "trace",
            "off",
            "info,corelane_engine=debug",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in ["inof", "info,degub", "corelane=loud", "a=b=c"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
