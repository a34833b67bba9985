use serde_json::{Value, json};

use crate::world::World;

fn check(source: &Value, version: &Value) -> Vec<String> {
    let answer = World::new()
        .run("time", "check", None, &json!({ "source": source, "version": version }))
        .json();
    let versions = answer.as_array().unwrap();
    versions.iter().map(|version| version["time"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_check_gives_a_time_in_the_window() {
    for source in [
        json!({}),
        json!({ "interval": "1h30m" }),
        json!({ "initial_version": true, "start": "1:00", "stop": "1:01" }),
        json!({ "start": "1:00", "stop": "1:01" }),
        json!({ "days": ["Mon", "wednesday"], "location": "America/New_York" }),
        json!({ "start_after": "2006-01-02T15" }),
    ] {
        assert_eq!(check(&source, &Value::Null).len(), 1, "{source}");
    }
    let at_night =
        check(&json!({ "start": "1:00 AM", "stop": "1:00:00 AM".split_at(4).0 }), &Value::Null);
    assert_eq!(at_night.len(), 1);
    assert_eq!(
        check(&json!({ "start_after": "2999-01-01" }), &Value::Null),
        <[&str; 0]>::default()
    );
}

#[test]
fn a_given_time_stays_and_a_newer_one_may_follow() {
    let old = json!({ "time": "2020-01-01T00:00:00Z" });
    assert_eq!(check(&json!({ "interval": "1h" }), &old)[0], "2020-01-01T00:00:00Z");
    assert_eq!(check(&json!({ "interval": "1h" }), &old).len(), 2);
    assert_eq!(check(&json!({ "interval": "2000000h" }), &old).len(), 1);
    let future = json!({ "time": "2999-01-01T00:00:00Z" });
    assert_eq!(check(&json!({}), &future), ["2999-01-01T00:00:00Z"]);
}

#[test]
fn a_time_is_written_in_each_notation() {
    for (time, stamp, epoch) in [
        ("2026-03-04T05:06:07Z", "2026-03-04 05:06:07 +0000 UTC", "1772600767"),
        ("2026-03-04T05:06:07.5Z", "2026-03-04 05:06:07.5 +0000 UTC", "1772600767"),
        ("2026-03-04T05:06:07+02:00", "2026-03-04 05:06:07 +0200 +0200", "1772593567"),
    ] {
        let world = World::new();
        let request = json!({ "source": {}, "version": { "time": time } });
        let answer = world.run("time", "in", Some("got"), &request).json();
        assert_eq!(answer["version"], json!({ "time": time }));
        assert_eq!(world.read("got/time"), time);
        assert_eq!(world.read("got/timestamp"), stamp);
        assert_eq!(world.read("got/epoch"), epoch);
        let input: Value = serde_json::from_str(&world.read("got/input")).unwrap();
        assert_eq!(input, request);
    }
}

#[test]
fn the_present_is_published() {
    let world = World::new();
    std::fs::create_dir(world.path("artifacts")).unwrap();
    let answer = world
        .run("time", "out", Some("artifacts"), &json!({ "source": { "location": "Asia/Tokyo" } }))
        .json();
    assert!(answer["version"]["time"].as_str().unwrap().ends_with("+09:00"), "{answer}");
}

#[test]
fn what_is_no_time_is_refused() {
    let world = World::new();
    for (source, expected) in [
        (json!({ "start": "1:00" }), "`start` needs `stop`"),
        (json!({ "start": 1140, "stop": "25:00" }), "`stop` is `25:00`"),
        (json!({ "interval": "often" }), "`interval` is `often`"),
        (json!({ "interval": "-1h" }), "`interval` is `-1h`"),
        (json!({ "location": "Europe/Berlim" }), "did you mean `Europe/Berlin`?"),
        (json!({ "days": ["Mondai"] }), "did you mean `monday`?"),
        (json!({ "start_after": "tomorrow" }), "`start_after` is `tomorrow`"),
        (json!({ "intervall": "1h" }), "did you mean `interval`?"),
    ] {
        world.run("time", "check", None, &json!({ "source": source })).fails_with(expected);
    }
}
