//! CSI drivers, their calls, and the health of a class's provisioner.

use jiff::Timestamp;
use pvdeck::model::csi::{CsiCapacity, CsiDriver, CsiNode};
use pvdeck::model::object::Key;
use pvdeck::plugins::csi::calls::{Call, RpcFigures};
use pvdeck::plugins::flex_volume::drivers::Shown;
use pvdeck::plugins::flex_volume::reply::DriverCapabilities;
use pvdeck::ui::state::TableId;
use serde_json::{Value, json};

use super::sample::{Console, NOW};
use super::screens::{check, picture, text};

const DRIVER: &str = "csi.fast.io";
const STAMP: &str = "2026-08-23T09:41:07Z";

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(NOW * 1000 + ms).expect("a time")
}

fn call(rpc: &'static str, node: &str, began: i64, ended: Option<(i64, &'static str)>) -> Call {
    Call {
        id: 0,
        driver: DRIVER.into(),
        node: node.into(),
        rpc,
        started: at(began),
        ended: ended.map(|(ms, _)| at(ms)),
        code: ended.map_or("", |(_, code)| code),
        request: json!({"volume_id": "vol-7c1f0e", "secrets": {"key": "***stripped***"}}),
        reply: Value::Null,
    }
}

fn figures(rpc: &'static str, ended: usize, in_flight: usize) -> RpcFigures {
    let total = jiff::SignedDuration::from_millis(52 * ended as i64);
    let slowest = jiff::SignedDuration::from_millis(if ended == 0 { 0 } else { 340 });
    RpcFigures {
        driver: DRIVER.into(),
        rpc,
        ended,
        in_flight,
        total,
        slowest,
        ..Default::default()
    }
}

fn told(console: &mut Console) {
    console.data.session.live = false;
    console.data.present = at(0);
    console.apply::<CsiDriver>(json!({"metadata": {"name": DRIVER, "uid": "uid--driver",
        "resourceVersion": "90", "creationTimestamp": STAMP},
        "spec": {"attachRequired": true, "storageCapacity": true,
            "volumeLifecycleModes": ["Persistent"]}}));
    console.apply::<CsiNode>(json!({"metadata": {"name": "node-1", "uid": "uid--node-1",
        "resourceVersion": "91"}, "spec": {"drivers": [{"name": DRIVER, "nodeID": "fast-1",
        "topologyKeys": ["zone"], "allocatable": {"count": 39}}]}}));
    console.apply::<CsiCapacity>(json!({"metadata": {"namespace": "kube-system", "name": "c-1",
        "uid": "uid--capacity", "resourceVersion": "92"}, "storageClassName": "fast",
        "capacity": "120Gi", "maximumVolumeSize": "50Gi",
        "nodeTopology": {"matchLabels": {"zone": "a"}}}));
    let said = "no room in zone b";
    let create = RpcFigures {
        failures: [("ResourceExhausted", 2), ("Unavailable", 1)].into(),
        last_failure: Some((at(-61_000), "ResourceExhausted", said.to_owned())),
        ..figures("CreateVolume", 41, 1)
    };
    let facts = &mut console.data.calls;
    facts.figures =
        vec![create, figures("NodePublishVolume", 40, 0), figures("NodeStageVolume", 0, 2)];
    let rpcs = |numbers: &[i32]| {
        let one = |number: &i32| json!({"type": {"Rpc": {"type": number}}});
        json!({"capabilities": numbers.iter().map(one).collect::<Vec<_>>()})
    };
    facts.abilities = vec![
        (DRIVER.into(), "ControllerGetCapabilities", rpcs(&[1, 2, 3, 4, 9])),
        (DRIVER.into(), "NodeGetCapabilities", rpcs(&[1, 2, 3])),
    ];
    let refused = Call {
        reply: said.into(),
        ..call("CreateVolume", "", -9_000, Some((-8_500, "ResourceExhausted")))
    };
    let made = Call {
        request: json!({"name": "pvc-7c1f0e", "capacity_range": {"required_bytes": 1_048_576}}),
        reply: json!({"volume": {"volume_id": "vol-7c1f0e", "capacity_bytes": 1_048_576}}),
        ..call("CreateVolume", "", -7_000, Some((-6_948, "OK")))
    };
    facts.calls = vec![
        refused,
        made,
        call("ControllerPublishVolume", "", -5_000, Some((-4_980, "OK"))),
        call("NodeStageVolume", "node-1", -2_000, None),
    ];
}

#[test]
fn drivers_with_the_last_failure_of_one() {
    check("drivers", |console| {
        told(console);
        console.press(":drivers\r");
    });
}

/// One driver has a CSIDriver, another is known to nodes alone.
fn told_of_two(console: &mut Console) {
    told(console);
    let own = |name: &str, id: &str| json!({"name": name, "nodeID": id, "topologyKeys": []});
    for (node, version) in [("node-1", 93), ("node-2", 94)] {
        let mut drivers = vec![own("csi.bare.io", &format!("bare-{node}"))];
        if node == "node-1" {
            drivers.push(own(DRIVER, "fast-1"));
        }
        console.apply::<CsiNode>(json!({"metadata": {"name": node, "uid": format!("uid--{node}"),
            "resourceVersion": version.to_string()}, "spec": {"drivers": drivers}}));
    }
}

#[test]
fn drivers_that_nodes_alone_know_are_listed_too() {
    check("drivers_bare", |console| {
        told_of_two(console);
        console.press(":drivers\r");
    });
}

#[test]
fn a_driver_without_an_object_with_what_kubernetes_takes_for_it() {
    check("driver_bare", |console| {
        told_of_two(console);
        console.press(":drivers\r/bare\r\r");
    });
}

#[test]
fn driver_without_an_object_cannot_be_edited_or_deleted() {
    let mut console = Console::sample(80, 24, "dark").writable();
    told_of_two(&mut console);
    console.press(":drivers\r/bare\r");
    assert_eq!(console.under_cursor(), "csi.bare.io");
    for key in ["e", "\u{4}", "y", "t", " \u{4}"] {
        console.press(key);
        let shown = text(&picture(&console));
        assert!(shown.contains("there is no CSIDriver object `csi.bare.io`"), "{key:?}: {shown}");
        assert_eq!(console.state.dialog, None);
    }
}

#[test]
fn drivers_come_and_go_with_their_nodes() {
    let mut console = Console::sample(80, 24, "dark");
    told_of_two(&mut console);
    console.press(":drivers\rN");
    let listed = console.data.listed(TableId::Drivers);
    assert_eq!((listed.len(), listed.id_at(0).as_deref()), (2, Some("csi.bare.io")));
    console.remove::<CsiNode>(Key::cluster("node-1")).press("N");
    let listed = console.data.listed(TableId::Drivers);
    assert_eq!((listed.len(), listed.id_at(0).as_deref()), (2, Some("uid--driver")));
    console.remove::<CsiNode>(Key::cluster("node-2"));
    assert_eq!(console.data.listed(TableId::Drivers).len(), 1);
}

#[test]
fn a_driver_with_what_it_can_do_and_how_its_calls_fare() {
    check("driver", |console| {
        told(console);
        console.press(":drivers\r\r");
    });
}

#[test]
fn flex_volume_drivers_that_work_and_one_that_fails() {
    check("flex_drivers", |console| {
        told(console);
        let shown = |name: &str, state| Shown { name: name.into(), state };
        let mounts = DriverCapabilities { attach: false, ..DriverCapabilities::default() };
        console.data.calls.flex_volume = vec![
            shown("k8s/nfs", Ok(mounts)),
            shown("example/disk", Ok(DriverCapabilities::default())),
            shown("example/bad", Err("unexpected end of JSON input".into())),
        ];
        console.press(":plugins\r/flex\r");
    });
}

#[test]
fn a_class_with_the_health_of_its_provisioner() {
    check("class_health", |console| {
        told(console);
        console.press(":sc\r\r");
    });
}

#[test]
fn a_journey_with_the_calls_to_the_driver() {
    check("journey_calls", |console| {
        told(console);
        console.press(":pvc\r/data-mysql-1\r\r\u{6}");
    });
}

#[test]
fn calls_with_request_and_reply() {
    check("calls", |console| {
        told(console);
        console.press(":pvc\r/data-mysql-1\r\ro");
    });
}

#[test]
fn calls_of_a_live_cluster_are_made_by_others() {
    check("calls_live", |console| {
        told(console);
        console.data.calls = Default::default();
        console.data.session.live = true;
        console.press(":drivers\r\ro");
    });
}
