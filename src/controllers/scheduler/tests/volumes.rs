//! What claims ask for: sections 3 to 8 and 12, the worked examples of section
//! 18, and the checks of section 19.

use serde_json::{Value, json};

use super::given::{
    Given, anywhere, bound, check, claim, class, labelled, local, local_class, node, on, pod,
    reserved, selected, user, with,
};
use crate::controllers::scheduler::decide::Verdict;

const NOTHING: &str = "2 node(s) didn't find available persistent volumes to bind.";
const IMMEDIATE: &str = "pod has unbound immediate PersistentVolumeClaims. not found";
const ELSEWHERE: &str = "1 node(s) didn't find available persistent volumes to bind, \
                         1 node(s) didn't match Pod's node affinity/selector.";

/// A pod with claim `data`, two nodes, the class `local`, and these.
fn answer(objects: impl IntoIterator<Item = Value>) -> String {
    let given = Given::two_nodes([local_class()].into_iter().chain(objects));
    given.answer(&user("p", &["data"]))
}

fn data(size: &str) -> Value {
    claim("data", size, "local")
}

fn ephemeral(owner: &str) -> [Value; 2] {
    let owner = json!([{"kind": "Pod", "name": "p", "uid": owner, "controller": true}]);
    let own = with(claim("p-v", "1Gi", "local"), json!({"metadata": {"ownerReferences": owner}}));
    [own, anywhere("pv", "5Gi")]
}

#[test]
fn section_3_claims_that_stop_the_attempt() {
    let status = |phase: &str| json!({"status": {"phase": phase}});
    let gone = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let with_ephemeral = |objects: Vec<Value>| {
        let given = Given::two_nodes([local_class()].into_iter().chain(objects));
        given.answer(&pod("p", json!({"volumes": [{"name": "v", "ephemeral": {}}]})))
    };
    let modeless = with(local_class(), json!({"volumeBindingMode": null}));
    let lost = with(bound("pv", data("1Gi")), status("Lost"));
    check(&[
        ("no claims", Given::two_nodes([]).answer(&pod("p", json!({}))), "n1"),
        ("a claim is missing", answer([]), "persistentvolumeclaim \"data\" not found. not found"),
        (
            "the claim of an ephemeral volume is missing",
            with_ephemeral(vec![]),
            "waiting for ephemeral volume controller to create the persistentvolumeclaim \
             \"p-v\". not found",
        ),
        ("an ephemeral claim is its own", with_ephemeral(ephemeral("uid-p").into()), "n1 p-v=pv"),
        (
            "an ephemeral claim is another's",
            with_ephemeral(ephemeral("uid-q").into()),
            "PVC d/p-v was not created for pod d/p (pod is not owner). not found",
        ),
        (
            "the claim is Lost",
            answer([lost.clone()]),
            "persistentvolumeclaim \"data\" bound to non-existent persistentvolume \"pv\". not found",
        ),
        (
            "Lost comes before deleting",
            answer([with(lost, gone.clone())]),
            "persistentvolumeclaim \"data\" bound to non-existent persistentvolume \"pv\". not found",
        ),
        (
            "the claim is being deleted",
            answer([with(data("1Gi"), gone)]),
            "persistentvolumeclaim \"data\" is being deleted. not found",
        ),
        ("its class is immediate", answer([claim("data", "1Gi", "missing")]), IMMEDIATE),
        ("it has no class", answer([claim("data", "1Gi", "")]), IMMEDIATE),
        (
            "2 pre-bound in a delayed class",
            answer([
                with(data("1Gi"), json!({"spec": {"volumeName": "pv"}})),
                anywhere("pv", "5Gi"),
            ]),
            IMMEDIATE,
        ),
        (
            "1 the mark alone is no binding",
            answer([
                with(
                    data("1Gi"),
                    json!({"metadata": {"annotations":
                {"pv.kubernetes.io/bind-completed": "yes"}}}),
                ),
                anywhere("pv", "5Gi"),
            ]),
            "n1 data=pv",
        ),
        (
            "10 a class without a mode",
            answer([modeless, data("1Gi")]),
            "error: running PreFilter plugin \"VolumeBinding\": VolumeBindingMode not set for \
             StorageClass \"local\"",
        ),
        (
            "the volume of a bound claim is missing",
            answer([bound("pv", data("1Gi"))]),
            "persistentvolume \"pv\" not found. not found",
        ),
    ]);
}

#[test]
fn section_4_bound_claims_go_where_their_volume_is() {
    let bound = || bound("pv", data("1Gi"));
    let term = |term: Value| {
        let required = json!({"nodeSelectorTerms": term});
        let affinity = json!({"spec": {"nodeAffinity": {"required": required}}});
        answer([bound(), with(anywhere("pv", "5Gi"), affinity)])
    };
    let named =
        json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]});
    let nowhere = "2 node(s) didn't match PersistentVolume's node affinity.";
    check(&[
        ("anywhere", answer([bound(), anywhere("pv", "5Gi")]), "n1"),
        ("on n2", answer([bound(), local("pv", "5Gi", "n2")]), "n2"),
        ("on a node that is gone", answer([bound(), local("pv", "5Gi", "n9")]), nowhere),
        ("9 fields alone admit every node", term(json!([named])), "n1"),
        ("9 an empty term admits none", term(json!([{}])), nowhere),
        ("no terms admit none", term(json!([])), nowhere),
    ]);
}

#[test]
fn section_5_static_matches() {
    let twice = |spec: Value| with(local("pv", "5Gi", "n1"), json!({"spec": spec}));
    let phase = |phase: &str| with(local("pv", "5Gi", "n1"), json!({"status": {"phase": phase}}));
    let labels = json!({"metadata": {"labels": {"tier": "gold"}}});
    let selecting =
        with(data("1Gi"), json!({"spec": {"selector": {"matchLabels": {"tier": "gold"}}}}));
    let mine = |volume: Value| reserved("data", "uid-data", volume);
    check(&[
        ("the node that has one", answer([data("1Gi"), local("pv", "5Gi", "n2")]), "n2 data=pv"),
        ("none", answer([data("1Gi")]), NOTHING),
        ("3 too small", answer([data("6Gi"), local("pv", "5Gi", "n1")]), NOTHING),
        (
            "4 of another mode",
            answer([data("1Gi"), twice(json!({"volumeMode": "Block"}))]),
            NOTHING,
        ),
        (
            "5 of another attributes class",
            answer([data("1Gi"), twice(json!({"volumeAttributesClassName": "x"}))]),
            NOTHING,
        ),
        (
            "6 being deleted",
            answer([
                data("1Gi"),
                with(
                    local("pv", "5Gi", "n1"),
                    json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                ),
            ]),
            NOTHING,
        ),
        ("10 Pending", answer([data("1Gi"), phase("Pending")]), NOTHING),
        (
            "11 a selector that does not match",
            answer([selecting.clone(), local("pv", "5Gi", "n1")]),
            NOTHING,
        ),
        (
            "11 a selector that does",
            answer([selecting, with(local("pv", "5Gi", "n1"), labels)]),
            "n1 data=pv",
        ),
        (
            "11 of another class",
            answer([data("1Gi"), twice(json!({"storageClassName": "x"}))]),
            NOTHING,
        ),
        (
            "12 lacks a mode",
            answer([data("1Gi"), twice(json!({"accessModes": ["ReadOnlyMany"]}))]),
            NOTHING,
        ),
        (
            "13, 19.5 the smallest",
            answer([
                data("1Gi"),
                local("a", "9Gi", "n1"),
                local("b", "2Gi", "n1"),
                local("c", "2Gi", "n1"),
            ]),
            "n1 data=b",
        ),
        (
            "a volume that every node can use, if it is smaller",
            answer([data("1Gi"), local("a", "9Gi", "n1"), anywhere("b", "2Gi")]),
            "n1 data=b",
        ),
        (
            "2 another's",
            answer([data("1Gi"), reserved("other", "u", local("pv", "5Gi", "n1"))]),
            NOTHING,
        ),
        (
            "2 a namesake's",
            answer([data("1Gi"), reserved("data", "earlier", local("pv", "5Gi", "n1"))]),
            NOTHING,
        ),
        (
            "8, 19.8 reserved, though Released",
            answer([data("1Gi"), mine(phase("Released"))]),
            "n1 data=pv",
        ),
        ("19.8 Released", answer([data("1Gi"), phase("Released")]), NOTHING),
        (
            "8 reserved, without the modes",
            answer([data("1Gi"), mine(twice(json!({"accessModes": ["ReadOnlyMany"]})))]),
            "n1 data=pv",
        ),
        (
            "8 reserved by name",
            answer([data("1Gi"), reserved("data", "", local("pv", "5Gi", "n1"))]),
            "n1 data=pv",
        ),
        (
            "8 reserved, but too small",
            answer([data("9Gi"), mine(local("pv", "5Gi", "n1"))]),
            NOTHING,
        ),
    ]);
}

#[test]
fn section_6_provisioning_here() {
    let fast = |extra: Value| with(class("fast", "csi.example"), extra);
    let wants = || claim("data", "50Gi", "fast");
    let topology = json!({"allowedTopologies": [{"matchLabelExpressions":
        [{"key": "kubernetes.io/hostname", "values": ["n2", "n3"]}]}]});
    let empty_term = json!({"allowedTopologies": [{"matchLabelExpressions": []}]});
    let free = with(local("pv", "99Gi", "n1"), json!({"spec": {"storageClassName": "fast"}}));
    let only_n2 = |objects: Vec<Value>| {
        let given = Given::two_nodes(objects);
        let selector = json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": "n2"}}});
        given.answer(&with(user("p", &["data"]), selector))
    };
    check(&[
        ("it can", answer([fast(json!({})), wants()]), "n1 data=new"),
        ("only there", answer([fast(topology), wants()]), "n2 data=new"),
        ("an empty term admits none", answer([fast(empty_term), wants()]), NOTHING),
        (
            "no provisioner",
            answer([class("fast", "kubernetes.io/no-provisioner"), wants()]),
            NOTHING,
        ),
        (
            "a volume there comes first",
            answer([fast(json!({})), wants(), free.clone()]),
            "n1 data=pv",
        ),
        (
            "3 selected for n2",
            answer([fast(json!({})), selected("n2", wants()), free.clone()]),
            "n2 data=new",
        ),
        (
            "4 selected for n1, free volume or not",
            answer([fast(json!({})), selected("n1", wants()), free]),
            "n1 data=new",
        ),
        (
            "selected for a node that is gone",
            answer([fast(json!({})), selected("n9", wants())]),
            NOTHING,
        ),
        ("an empty annotation", answer([fast(json!({})), selected("", wants())]), NOTHING),
        ("selected elsewhere", only_n2(vec![fast(json!({})), selected("n1", wants())]), ELSEWHERE),
    ]);
}

fn capacity(name: &str, size: Value, topology: Value) -> Value {
    with(
        json!({"kind": "CSIStorageCapacity", "metadata": {"name": name, "namespace": "kube-system"},
        "storageClassName": "fast", "nodeTopology": topology}),
        size,
    )
}

#[test]
fn section_8_capacity() {
    let driver = |told: bool| {
        json!({"kind": "CSIDriver", "metadata": {"name": "csi.example"},
        "spec": {"storageCapacity": told}})
    };
    let base = |told: bool| {
        vec![class("fast", "csi.example"), claim("data", "50Gi", "fast"), driver(told)]
    };
    let with_capacity = |size: Value, topology: Value| {
        let mut objects = base(true);
        objects.push(capacity("c", size, topology));
        answer(objects)
    };
    let on = |node: &str| json!({"matchLabels": {"kubernetes.io/hostname": node}});
    let short = "2 node(s) did not have enough free storage.";
    let size = |size: &str| json!({"capacity": size});
    check(&[
        ("the driver does not tell", answer(base(false)), "n1 data=new"),
        ("it tells of nothing", answer(base(true)), short),
        ("there", with_capacity(size("100Gi"), on("n2")), "n2 data=new"),
        ("too little", with_capacity(size("40Gi"), on("n2")), short),
        (
            "the largest volume counts",
            with_capacity(json!({"capacity": "100Gi", "maximumVolumeSize": "40Gi"}), json!({})),
            short,
        ),
        ("unknown", with_capacity(json!({}), json!({})), short),
        ("11 reachable from nowhere", with_capacity(size("100Gi"), Value::Null), short),
        ("11 reachable from everywhere", with_capacity(size("100Gi"), json!({})), "n1 data=new"),
    ]);
    let mut two = base(true);
    two.extend([claim("more", "60Gi", "fast"), capacity("c", size("100Gi"), json!({}))]);
    let given = Given::two_nodes(two);
    assert_eq!(
        given.answer(&user("p", &["data", "more"])),
        "n1 data=new more=new",
        "each on its own"
    );
}

#[test]
fn section_12_restrictions_limits_and_zones() {
    let alone = || with(data("1Gi"), json!({"spec": {"accessModes": ["ReadWriteOncePod"]}}));
    let mine = || [bound("pv", alone()), anywhere("pv", "5Gi")];
    let in_use = "2 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access \
                  mode already in-use by another pod.";
    let also = |pod: Value| answer(mine().into_iter().chain([pod]));
    let csi = |name: &str| {
        with(
            anywhere(name, "5Gi"),
            json!({"spec":
        {"csi": {"driver": "csi.example", "volumeHandle": name}}}),
        )
    };
    let limit = |node: &str, most: i64| {
        json!({"kind": "CSINode", "metadata": {"name": node},
        "spec": {"drivers": [{"name": "csi.example", "nodeID": node, "allocatable": {"count": most}}]}})
    };
    let limited = |most: i64, claims: &[&str], there: &str| {
        let objects = [
            limit("n1", most),
            limit("n2", 0),
            csi("pv-a"),
            csi("pv-b"),
            bound("pv-a", claim("a", "1Gi", "local")),
            bound("pv-b", claim("b", "1Gi", "local")),
            class("new", "csi.example"),
            claim("c", "1Gi", "new"),
        ];
        let given = Given::two_nodes(objects.into_iter().chain([on("n1", user("q", &[there]))]));
        given.answer(&user("p", claims))
    };
    let exceeded = "2 node(s) exceed max volume count.";
    let zoned = |volume: Value, node: Value| {
        let volume = with(anywhere("pv", "5Gi"), json!({"metadata": {"labels": volume}}));
        let given = Given::of([labelled("n1", node), volume, bound("pv", data("1Gi"))]);
        given.answer(&user("p", &["data"]))
    };
    let (ga, beta) = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone");
    let no_zone = "0/1 nodes are available: 1 node(s) had no available volume zone.";
    let ended = with(on("n1", user("q", &["data"])), json!({"status": {"phase": "Failed"}}));
    check(&[
        ("16 for one pod, and another has it", also(on("n1", user("q", &["data"]))), in_use),
        ("it is not on a node", also(user("q", &["data"])), "n1"),
        ("it has ended", also(ended), "n1"),
        ("one more", limited(2, &["b"], "a"), "n1"),
        ("none left", limited(1, &["b"], "a"), exceeded),
        ("the same volume counts once", limited(1, &["a"], "a"), "n1"),
        ("17 the same unbound claim counts once", limited(1, &["c"], "c"), "n1 c=new"),
        ("an unbound claim counts", limited(1, &["c"], "a"), exceeded),
        ("of the zone", zoned(json!({ga: "a__b"}), json!({ga: "b"})), "n1"),
        ("of another zone", zoned(json!({ga: "a"}), json!({ga: "b"})), no_zone),
        ("a node without zones", zoned(json!({ga: "a"}), json!({})), "n1"),
        ("18 beta volume, newer node", zoned(json!({beta: "a"}), json!({ga: "a"})), "n1"),
        ("18 newer volume, beta node", zoned(json!({ga: "a"}), json!({beta: "a"})), no_zone),
        ("a label that cannot be read", zoned(json!({ga: "a____b"}), json!({ga: "c"})), "n1"),
    ]);
}

#[test]
fn section_18_worked_examples() {
    let pv_a = || local("pv-a", "20Gi", "n1");
    let pv_b = || local("pv-b", "40Gi", "n2");
    let mut given = Given::two_nodes([local_class(), pv_a(), pv_b(), data("30Gi")]);
    let pod = user("p", &["data"]);
    assert_eq!(given.answer(&pod), "n2 data=pv-b", "1");
    given.put(with(node("n2"), json!({"spec": {"unschedulable": true}})));
    let two = "0/2 nodes are available: 1 node(s) didn't find available persistent volumes to bind, \
               1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/2 nodes are \
               available: 2 Preemption is not helpful for scheduling.";
    let Verdict::Refuse(refusal) = given.decide(&pod) else { panic!("refused") };
    assert_eq!(refusal.to_string(), two, "2");

    let moved =
        with(pod.clone(), json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": "n2"}}}));
    let given = Given::two_nodes([local_class(), pv_a(), bound("pv-a", data("1Gi"))]);
    let three = "1 node(s) didn't match PersistentVolume's node affinity, \
                 1 node(s) didn't match Pod's node affinity/selector.";
    assert_eq!(given.answer(&moved), three, "3");

    let zone = |name: &str, zone: &str| labelled(name, json!({"zone": zone}));
    let room = |name: &str, size: &str| {
        capacity(name, json!({"capacity": size}), json!({"matchLabels": {"zone": name}}))
    };
    let driver = json!({"kind": "CSIDriver", "metadata": {"name": "csi.example"},
        "spec": {"storageCapacity": true}});
    let given = Given::of([
        zone("n1", "b"),
        zone("n2", "a"),
        class("fast", "csi.example"),
        driver,
        room("a", "100Gi"),
        room("b", "10Gi"),
        claim("data", "50Gi", "fast"),
    ]);
    assert_eq!(given.answer(&pod), "n2 data=new", "4");

    let of_fast = |volume: Value| with(volume, json!({"spec": {"storageClassName": "fast"}}));
    let given = Given::of([
        node("n1"),
        class("fast", "csi.example"),
        of_fast(local("pv", "10Gi", "n1")),
        claim("large", "9Gi", "fast"),
        claim("small", "8Gi", "fast"),
    ]);
    assert_eq!(given.answer(&user("p", &["large", "small"])), "n1 small=pv large=new", "5, 19.6");

    let pv_r = || reserved("data", "", local("pv-r", "5Gi", "n1"));
    let given = Given::two_nodes([local_class(), pv_r(), local("pv", "5Gi", "n2"), data("1Gi")]);
    assert_eq!(given.answer(&pod), "n1 data=pv-r", "6");
    assert_eq!(
        given.answer(&with(
            pod,
            json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": "n2"}}})
        )),
        ELSEWHERE,
        "6, 19.7: n2's free volume will not do"
    );
}

#[test]
fn what_is_promised_to_one_pod_is_not_promised_to_another() {
    let objects = [
        local_class(),
        data("1Gi"),
        claim("other", "1Gi", "local"),
        local("pv-1", "5Gi", "n1"),
        user("p", &["data"]),
        user("q", &["other"]),
    ];
    let mut given = Given::two_nodes(objects);
    let first = given.placed(&user("p", &["data"]));
    let (p, q) = (user("p", &["data"]), user("q", &["other"]));
    let claim = given.cache.claims.get(&first.plan.bind[0].claim).cloned().expect("the claim");
    let key = crate::model::object::Key::new("d", "p");
    given.cache.stock.promise("pv-1", &claim, &key);
    assert_eq!(given.answer(&q), NOTHING);
    assert_eq!(given.answer(&p), "n1 data=pv-1", "it is still its own");
    // A change that leaves it free breaks no promise.
    given.put(with(local("pv-1", "5Gi", "n1"), json!({"metadata": {"labels": {"seen": "yes"}}})));
    assert_eq!(given.answer(&q), NOTHING);
    given.cache.stock.release("pv-1", &key);
    assert_eq!(given.answer(&q), "n1 other=pv-1");
}

#[test]
fn a_node_chosen_before_is_chosen_again() {
    let nominated = with(pod("p", json!({})), json!({"status": {"nominatedNodeName": "n2"}}));
    assert_eq!(Given::two_nodes([]).answer(&nominated), "n2");
    assert_eq!(Given::of([node("n1")]).answer(&nominated), "n1", "it is gone");
}
