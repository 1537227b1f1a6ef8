//! The command line: what a person types, and what they get back.
//!
//! One module a command. Each parses its arguments into a struct (pure, tested as tables) and runs as a thin shell; what
//! decides something (partitioner, backlog, templates, positions) has a file of its own that does no I/O. Client commands
//! run in one executor with a lane's settings, see [`client`].
//!
//! # Invariants
//! - Standard output holds results and nothing else; logs, notes and errors go to standard error.
//! - Exit code 0 means that everything asked for happened, 1 that it did not (one line says why and what to do), 2 that the
//!   command line makes no sense, or that a check could not be made. A reader that closes the pipe early is no failure.

mod base64;
mod batch_records;
mod client;
mod consume;
mod doctor;
mod escape;
mod group;
mod key_value;
mod log;
mod logging;
mod offsets;
mod produce;
mod record_view;
mod serve;
mod signals;
mod stdout;
mod table;
mod topic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use corelane_engine::utc;

/// Exit code of a command that could not do what it was asked.
const FAILURE: u8 = 1;

/// Exit code of a check that could not be made.
const UNCHECKED: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  corelane serve                                   a server on 127.0.0.1, from port 9092 up, with data in ./corelane-data
  corelane topic create orders --partitions 3      a topic
  echo hello | corelane produce orders             a record for each line of input
  corelane consume orders                          every record, and then the end
  corelane group lag --all                         how far consumers are behind
  corelane doctor                                  what this machine lacks to serve well";

/// Corelane, a Kafka-compatible event streaming engine: one lane per core, direct I/O, durable before it is acknowledged.
///
/// `corelane serve` runs a server; any Kafka client in any language can use it. The other commands look after it.
#[derive(Debug, Parser)]
#[command(name = "corelane", version, propagate_version = true, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    Produce(produce::ProduceArgs),
    Consume(consume::ConsumeArgs),
    #[command(subcommand)]
    Group(group::GroupCommand),
    Doctor(doctor::DoctorArgs),
    #[command(subcommand)]
    Log(log::LogCommand),
}

/// A command's own verdict, where it did run to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Everything is as it should be.
    Success,
    /// What it found or did is not as it should be; it has said so.
    Failure,
    /// It could not look at everything; it has said at what.
    Unchecked,
}

/// Runs the command that the process was started with.
pub(crate) fn run() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Topic(command) => topic::run(command),
        Command::Produce(arguments) => produce::run(arguments),
        Command::Consume(arguments) => consume::run(arguments),
        Command::Group(command) => group::run(command),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Log(command) => log::run(&command),
    };
    match outcome {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::Failure) => ExitCode::from(FAILURE),
        Ok(Outcome::Unchecked) => ExitCode::from(UNCHECKED),
        Err(error) if stdout::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(FAILURE)
        }
    }
}

/// Says what went wrong, in one line on standard error.
fn complain(reason: &str) {
    use std::io::Write as _;
    // If standard error is gone as well there is nobody left to tell; the exit code remains.
    let _ = writeln!(std::io::stderr(), "error: {}", reason.trim_end());
}

/// Says something worth knowing on standard error.
fn note(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    /// Every option of every command says what it does, and every command shows an example.
    #[test]
    fn help_is_complete() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} says what it does");
            if command.has_subcommands() {
                command
                    .get_subcommands()
                    .filter(|sub| sub.get_name() != "help")
                    .for_each(check);
            } else {
                assert!(
                    command.get_after_help().is_some(),
                    "{name} shows an example"
                );
            }
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{name} {} says what it is",
                    argument.get_id()
                );
            }
        }
        let mut command = CommandLine::command();
        command.build();
        check(&command);
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_anything_happens() {
        let table = [
            ("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("fly", ErrorKind::InvalidSubcommand),
            ("topic create", ErrorKind::MissingRequiredArgument),
            ("topic create t --partitions 0", ErrorKind::ValueValidation),
            (
                "topic create t --config retention.ms",
                ErrorKind::ValueValidation,
            ),
            ("topic alter t", ErrorKind::MissingRequiredArgument),
            ("topic delete", ErrorKind::MissingRequiredArgument),
            ("produce", ErrorKind::MissingRequiredArgument),
            ("produce t --acks 2", ErrorKind::InvalidValue),
            ("produce t --compression brotli", ErrorKind::ValueValidation),
            (
                "produce t --key k --key-separator :",
                ErrorKind::ArgumentConflict,
            ),
            ("produce t --batch-size lots", ErrorKind::ValueValidation),
            ("consume t --from yesterday", ErrorKind::ValueValidation),
            ("consume t --json --format %s", ErrorKind::ArgumentConflict),
            ("consume t --count many", ErrorKind::ValueValidation),
            ("group describe", ErrorKind::MissingRequiredArgument),
            ("group lag g --all", ErrorKind::ArgumentConflict),
            ("group lag g --watch=1ms", ErrorKind::ValueValidation),
            ("group list --state asleep", ErrorKind::InvalidValue),
            ("group delete", ErrorKind::MissingRequiredArgument),
            (
                "group reset-offsets g --to-earliest",
                ErrorKind::MissingRequiredArgument,
            ),
            (
                "group reset-offsets g --topic t",
                ErrorKind::MissingRequiredArgument,
            ),
            (
                "group reset-offsets g --topic t --to-earliest --to-latest",
                ErrorKind::ArgumentConflict,
            ),
            (
                "group reset-offsets g --topic t:x --to-earliest",
                ErrorKind::ValueValidation,
            ),
            (
                "group reset-offsets g --all-topics --to-datetime noon",
                ErrorKind::ValueValidation,
            ),
            ("serve --listen everywhere", ErrorKind::InvalidValue),
            ("serve --set num.partitions", ErrorKind::ValueValidation),
            ("log dump", ErrorKind::MissingRequiredArgument),
            ("log dump x --limit many", ErrorKind::ValueValidation),
            ("log verify --scan", ErrorKind::UnknownArgument),
            (
                "log quarantine",
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            ),
        ];
        for (arguments, expected) in table {
            let words = std::iter::once("corelane").chain(arguments.split_whitespace());
            let got = CommandLine::try_parse_from(words).map_err(|error| error.kind());
            assert_eq!(got.err(), Some(expected), "corelane {arguments}");
        }
    }

    #[test]
    fn what_the_documentation_shows_is_taken() {
        let table = [
            "serve",
            "serve --config corelane.toml --data-dir /var/lib/corelane --host 127.0.0.1 --base-port 9092",
            "serve --cores 0,2-5 --listen shared --poll busy --insecure --set num.partitions=3 --set a=b",
            "serve --log-level info,corelane_engine=debug",
            "topic create orders --partitions 3 --config retention.ms=7d --config a=b --if-not-exists",
            "topic create orders --validate-only --json --bootstrap localhost:9093",
            "topic list --json",
            "topic describe orders payments",
            "topic alter orders --config a=b --delete-config c --partitions 6",
            "topic delete orders --if-exists",
            "produce orders --file lines.txt --key-separator : --null-marker NULL --header a=b --header a=c",
            "produce orders --key k --partition 2 --compression zstd --acks all --batch-size 64KiB --json",
            "consume orders --from earliest --partition 0 --partition 2 --follow --count 10",
            "consume orders --from -10 --format %k=%s\\n",
            "consume orders --from timestamp:1767225600000 --json",
            "group list --state stable --state Empty --type classic --json",
            "group describe reports alerts --watch",
            "group describe --all --watch=10s --json",
            "group lag reports --watch=500ms",
            "group reset-offsets reports --topic orders:0,1 --topic payments --shift-by -100 --execute",
            "group reset-offsets reports --all-topics --to-datetime 2026-11-21T07:30:00 --execute",
            "group reset-offsets reports --all-topics --by-duration P1DT2H --json",
            "group reset-offsets reports --topic orders --to-offset 5",
            "group delete reports alerts --if-exists",
            "doctor --data-dir /var/lib/corelane --json",
            "log dump corelane-data/logs/orders-0.1 --records --json",
            "log dump corelane-data/logs/orders-0.1 --offset 1000 --limit 10",
            "log verify",
            "log verify /var/lib/corelane /backup/logs/orders-0.1 --records --json",
            "log quarantine list",
            "log quarantine list /var/lib/corelane --scan --json",
        ];
        for arguments in table {
            let words = std::iter::once("corelane").chain(arguments.split_whitespace());
            if let Err(error) = CommandLine::try_parse_from(words) {
                panic!("corelane {arguments}: {error}");
            }
        }
    }
}
