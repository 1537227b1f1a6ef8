//! Static members of consumer groups, and settings of single groups.

use corelane_net::error_code::ErrorCode;

use super::consumers::{Consumer, Owned};
use super::world::World;

#[test]
fn a_static_member_that_comes_back_has_what_it_had() {
    let mut world = World::new();
    let mut members = [Consumer::of_instance("a", "i"), Consumer::new("b")];
    world.settled(&mut members);
    let [a, mut b] = members;
    let back = Consumer::of_instance("a2", "i");
    assert_eq!(
        world.beat_error(&back.full()),
        ErrorCode::UnreleasedInstanceId
    );
    assert_eq!(world.leave_with(&a, -2), ErrorCode::None);
    world.go_on(&mut b);
    assert_eq!(b.partitions().len(), 2, "its place is kept");
    let epoch = world.described().group_epoch;
    let mut back = Consumer::of_instance("a2", "i");
    world.go_on(&mut back);
    assert_eq!(back.owned, a.owned);
    assert_eq!(world.described().group_epoch, epoch, "nothing moved");
    assert_eq!(world.beat_error(&a.bare()), ErrorCode::FencedInstanceId);
    let mut unknown = a.clone();
    unknown.instance_id = Some("j".into());
    assert_eq!(
        world.beat_error(&unknown.bare()),
        ErrorCode::UnknownMemberId
    );
    // Away for longer than its session, it is out.
    assert_eq!(world.leave_with(&back, -2), ErrorCode::None);
    for _ in 0..10 {
        world.pass(5_000);
        world.go_on(&mut b);
    }
    assert_eq!(b.partitions(), [0, 1, 2, 3]);
}

#[test]
fn a_static_member_that_joins_under_its_own_id_must_have_left_first() {
    let mut world = World::new();
    let mut members = [Consumer::of_instance("a", "i"), Consumer::new("b")];
    world.settled(&mut members);
    let [mut a, _] = members;
    let had = a.owned.clone();
    let mut again = a.clone();
    (again.epoch, again.owned) = (0, Owned::new());
    assert_eq!(
        world.beat_error(&again.full()),
        ErrorCode::UnreleasedInstanceId
    );
    world.go_on(&mut a);
    assert_eq!(a.owned, had, "it lives on");
    assert_eq!(world.leave_with(&a, -2), ErrorCode::None);
    world.go_on(&mut again);
    assert_eq!((&again.owned, again.epoch), (&had, a.epoch));
    world.crash(0);
    world.go_on(&mut again);
    assert_eq!(again.owned, had);
}

#[test]
fn settings_of_a_group_are_in_force_with_its_next_heartbeat() {
    let mut world = World::new();
    let mut member = Consumer::new("a");
    world.go_on(&mut member);
    let set = |world: &mut World, name: &str, value: Option<&str>| {
        let record = crate::metadata::MetadataRecord::GroupConfig {
            group_id: "g".to_owned(),
            name: name.to_owned(),
            value: value.map(str::to_owned),
        };
        world.image.apply(&record).unwrap();
    };
    set(&mut world, "consumer.heartbeat.interval.ms", Some("7000"));
    set(&mut world, "consumer.session.timeout.ms", Some("8000"));
    world.pass(44_000);
    let response = world.beat(&member.bare());
    assert_eq!(
        (response.error_code, response.heartbeat_interval_ms),
        (0, 7_000),
        "its session was the longer one still"
    );
    world.pass(7_999);
    assert_eq!(world.beat_error(&member.bare()), ErrorCode::None);
    set(&mut world, "consumer.session.timeout.ms", None);
    assert_eq!(world.beat_error(&member.bare()), ErrorCode::None);
    world.pass(44_999);
    assert_eq!(world.beat_error(&member.bare()), ErrorCode::None);
    set(&mut world, "consumer.session.timeout.ms", Some("8000"));
    assert_eq!(world.beat_error(&member.bare()), ErrorCode::None);
    world.pass(8_000);
    assert_eq!(world.beat_error(&member.bare()), ErrorCode::UnknownMemberId);
}
