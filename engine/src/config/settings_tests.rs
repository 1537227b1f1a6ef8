//! How settings come together, and how mistakes are told.

use std::path::PathBuf;

use super::*;

const ALLOWED: &[usize] = &[0, 1, 2, 3];

fn resolve(file: &str, overrides: &SettingsOverrides) -> Result<ServerSettings, String> {
    let file = (!file.is_empty()).then(|| (PathBuf::from("c.toml"), file.to_owned()));
    overrides
        .resolve_with(file, ALLOWED)
        .map_err(|error| error.to_string())
}

fn set(pairs: &[&str]) -> SettingsOverrides {
    SettingsOverrides {
        set: pairs.iter().map(|pair| (*pair).to_owned()).collect(),
        ..Default::default()
    }
}

#[test]
fn without_any_configuration_every_allowed_core_serves_on_loopback() {
    let settings = resolve("", &SettingsOverrides::default()).unwrap();
    assert_eq!(
        settings,
        ServerSettings {
            cores: ALLOWED.to_vec(),
            ..ServerSettings::default()
        }
    );
    assert_eq!(settings.data_dir, PathBuf::from("./corelane-data"));
    assert_eq!(
        (settings.client_host().as_str(), settings.base_port),
        ("127.0.0.1", 9092)
    );
    assert_eq!((settings.node_id(0), settings.node_id(3)), (1000, 1003));
    assert_eq!(settings.topic_defaults(), TopicConfig::default());
}

#[test]
fn later_layers_win_file_then_flags_then_set() {
    let file = "base_port = 1\ncores = \"0\"\nserver_id = 7\nnum.partitions = 2\n";
    let overrides = SettingsOverrides {
        base_port: Some(2),
        cores: Some("1,3".into()),
        listen: Some("shared".into()),
        set: vec![
            "base_port=3".into(),
            "num.partitions=5".into(),
            "num.partitions = 6".into(),
        ],
        ..Default::default()
    };
    let settings = resolve(file, &overrides).unwrap();
    assert_eq!(settings.base_port, 3);
    assert_eq!(settings.cores, [1, 3]);
    assert_eq!(settings.listen, ListenMode::Shared);
    assert_eq!(
        (settings.server_id, settings.rack.as_str()),
        (7, "server-7")
    );
    assert_eq!(settings.broker.num_partitions(), 6);
    assert_eq!((settings.node_id(0), settings.node_id(1)), (7000, 7000));
}

#[test]
fn a_file_takes_nested_quoted_and_listed_keys() {
    let file = r#"
        data_dir = "/var/lib/corelane"
        cores = [0, 2]
        poll = "busy"
        flush_mode = "fdatasync"
        lane_tail_bytes = "128MiB"
        lane_journal_bytes = "16MiB"
        "log.retention.ms" = "7d"
        log.cleanup.policy = ["compact", "delete"]
        auto.create.topics.enable = false
        log.cleaner.min.cleanable.ratio = 0.25
        [log.segment]
        bytes = "64MiB"
        [max]
        connections = 10
        [broker]
    "#;
    let settings = resolve(file, &SettingsOverrides::default()).unwrap();
    assert_eq!(settings.cores, [0, 2]);
    assert_eq!(
        (settings.poll, settings.flush_mode),
        (PollMode::Busy, FlushChoice::Fdatasync)
    );
    assert_eq!(settings.memory.lane_tail_bytes, 128 << 20);
    assert_eq!(settings.lane_journal_bytes, 16 << 20);
    assert!(!settings.broker.auto_create_topics());
    assert_eq!(settings.broker.connections_max(), 10);
    let topics = settings.topic_defaults();
    assert_eq!(topics.retention_ms, Some(604_800_000));
    assert_eq!(topics.segment_size_bytes, 64 << 20);
    assert_eq!(
        topics.cleanup_policy,
        CleanupPolicy {
            delete: true,
            compact: true
        }
    );
}

#[test]
fn own_settings_are_written_with_dashes_and_dots_as_well() {
    for key in ["server_id", "server-id", "server.id"] {
        assert_eq!(
            resolve("", &set(&[&format!("{key}=4")])).unwrap().server_id,
            4,
            "{key}"
        );
    }
}

#[test]
fn every_known_setting_is_known() {
    for name in settings_builder::known_settings() {
        let message = resolve("", &set(&[&format!("{name}=\u{1}")]))
            .err()
            .unwrap_or_default();
        assert!(!message.contains("unknown setting"), "{name}: {message}");
    }
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let table: &[(&str, &[&str], &str)] = &[
        (
            "",
            &["num.partition=4"],
            "unknown setting num.partition in --set; did you mean num.partitions?",
        ),
        (
            "",
            &["datadir=/x"],
            "unknown setting datadir in --set; did you mean data_dir?",
        ),
        (
            "",
            &["colour=red"],
            "unknown setting colour in --set; no setting has a name like it",
        ),
        (
            "retention.ms = 4",
            &[],
            "unknown setting retention.ms in c.toml",
        ),
        (
            "",
            &["num.partitions"],
            "--set num.partitions: give KEY=VALUE, as in --set num.partitions=4",
        ),
        (
            "",
            &["num.partitions=0"],
            "num.partitions in --set: 0 does not do: Value must be at least 1",
        ),
        (
            "base_port = 70000",
            &[],
            "base_port in c.toml: 70000 is no port from 0 to 65535",
        ),
        (
            "base_port = 2020-01-01",
            &[],
            "base_port in c.toml is a date; give a string, a number, true, false or a list of those",
        ),
        ("cores = [[0]]", &[], "cores in c.toml is a list in a list"),
        (
            "cores = ",
            &[],
            "the configuration file c.toml is not valid TOML",
        ),
        (
            "base_port = 1\nbase_port = 2",
            &[],
            "the configuration file c.toml is not valid TOML",
        ),
        (
            "",
            &["cores=0,9"],
            "core 9 is not among the cores this process may run on (0-3)",
        ),
        ("", &["cores=0,0"], "core 0 is named twice"),
        (
            "",
            &["listen=both"],
            "listen in --set: both is neither per-core nor shared",
        ),
        ("", &["poll=spin"], "spin is neither park nor busy"),
        (
            "",
            &["host=example.org"],
            "example.org is no IP address to listen on",
        ),
        ("", &["host=0.0.0.0"], "refusing to listen on 0.0.0.0"),
        ("", &["host=192.0.2.1"], "--insecure"),
        (
            "",
            &["host=0.0.0.0", "insecure=true"],
            "clients cannot connect to 0.0.0.0; name this server",
        ),
        (
            "",
            &["base_port=65534"],
            "4 lanes from port 65534 on end above 65535",
        ),
        (
            "",
            &["server_id=2147483"],
            "2147483 is no number from 0 to 2147482",
        ),
        ("", &["server_id=-1"], "-1 is no number from 0"),
        (
            "",
            &["default.replication.factor=3"],
            "3 does not do: Value must be no more than 1",
        ),
        ("", &["lane_tail_bytes=10s"], "s is no unit of size"),
        (
            "",
            &["lane_tail_bytes=1KiB"],
            "at least 1024 KiB are needed",
        ),
        ("", &["frame_deadline_ms=0"], "give more than 0"),
        (
            "",
            &["lane_journal_bytes=1KiB"],
            "give 0 for no journal, or from 2MiB to 16GiB",
        ),
        (
            "",
            &["log.segment.bytes=64XB"],
            "64XB does not do: XB is no unit of size",
        ),
        (
            "",
            &[
                "log.cleaner.min.compaction.lag.ms=10",
                "log.cleaner.max.compaction.lag.ms=5",
            ],
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
        ),
    ];
    for (file, pairs, expected) in table {
        let message = resolve(file, &set(pairs)).err();
        assert!(
            message.as_deref().is_some_and(|m| m.contains(expected)),
            "{file}{pairs:?}: {message:?}"
        );
    }
}

#[test]
fn listening_beyond_loopback_takes_insecure_and_a_name_for_clients() {
    let settings = resolve(
        "",
        &set(&[
            "host=0.0.0.0",
            "insecure=true",
            "advertised_host=k1.example.org",
        ]),
    )
    .unwrap();
    assert_eq!(settings.client_host(), "k1.example.org");
    for loopback in ["127.0.0.1", "127.3.4.5", "::1", "[::1]", "localhost"] {
        assert!(
            resolve("", &set(&[&format!("host={loopback}")])).is_ok(),
            "{loopback}"
        );
    }
}

#[test]
fn a_port_of_0_and_a_shared_port_need_no_room_above() {
    assert!(resolve("", &set(&["base_port=0"])).is_ok());
    assert!(resolve("", &set(&["base_port=65535", "listen=shared"])).is_ok());
}

#[test]
fn a_missing_file_is_told_by_its_path() {
    let overrides = SettingsOverrides {
        config: Some(PathBuf::from("/nonexistent/c.toml")),
        ..Default::default()
    };
    let message = overrides.resolve().unwrap_err().to_string();
    assert!(
        message.starts_with("cannot read the configuration file /nonexistent/c.toml"),
        "{message}"
    );
}

#[test]
fn spare_segments_can_be_limited_and_turned_off() {
    assert_eq!(
        resolve("", &SettingsOverrides::default())
            .unwrap()
            .spare_segments_bytes,
        4 << 30
    );
    let given = set(&["spare_segments_bytes=512MiB"]);
    let settings = resolve("spare_segments_bytes = 7\n", &given).unwrap();
    assert_eq!(settings.spare_segments_bytes, 512 << 20);
    let settings = resolve("", &set(&["spare-segments-bytes=0"])).unwrap();
    assert_eq!(settings.spare_segments_bytes, 0);
    let error = resolve("", &set(&["spare_segments_bytes=much"])).unwrap_err();
    assert!(error.contains("spare_segments_bytes"), "{error}");
}
