//! kcat as Debian ships it, with a librdkafka of 2022.

mod support;

use support::{
    clients::{require_kcat, run_python},
    server::{Listen, Server},
};

#[test]
fn kcat_works_with_a_node_per_core() {
    require_kcat();
    run_python("kcat_checks.py", &Server::start("kcat", Listen::PerCore));
}

#[test]
fn kcat_works_with_one_port_for_all_cores() {
    require_kcat();
    run_python("kcat_checks.py", &Server::start("kcat", Listen::Shared));
}
