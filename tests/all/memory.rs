//! What the mirror's rows cost: under 1 KiB an object, indexes included.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use pvdeck::mirror::Mirror;
use pvdeck::model::claim::Claim;
use pvdeck::model::row::Row;
use pvdeck::model::volume::Volume;
use serde_json::{Value, json};

/// Counts what each thread holds, so that tests running beside do not count.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// What glibc's allocator takes for a block: 8 bytes beside it, in steps of 16.
fn taken(layout: Layout) -> isize {
    isize::try_from((layout.size() + 8).max(32).next_multiple_of(16)).unwrap_or(isize::MAX)
}

// SAFETY: every call goes to the system's allocator unchanged; the counter is a
// plain cell of the thread and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more; nor does it matter.
        let _ = HELD.try_with(|held| held.set(held.get() + taken(layout)));
        // SAFETY: as the caller promised us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get() - taken(layout)));
        // SAFETY: as the caller promised us.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn volume(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": format!("pvc-{number:08}-7c1f-4f0e-9a41-2b6d5e8f0a17"),
            "uid": format!("{number:08}-1111-4f0e-9a41-2b6d5e8f0a17"),
            "resourceVersion": (number * 2).to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["kubernetes.io/pv-protection", "external-provisioner.volume.kubernetes.io/finalizer"],
            "labels": {"tier": "gold", "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
                       "app.kubernetes.io/managed-by": "storage-team"},
            "annotations": {"pv.kubernetes.io/provisioned-by": "csi.example.com",
                            "pv.kubernetes.io/bound-by-controller": "yes"},
            "managedFields": [{"manager": "kube-controller-manager", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {
            "capacity": {"storage": "20Gi"}, "accessModes": ["ReadWriteOnce"],
            "claimRef": {"kind": "PersistentVolumeClaim", "namespace": format!("team-{}", number % 50),
                         "name": format!("data-database-{number}"),
                         "uid": format!("{number:08}-2222-4f0e-9a41-2b6d5e8f0a17")},
            "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "fast",
            "csi": {"driver": "csi.example.com", "volumeHandle": format!("vol-{number:016x}")},
        },
        "status": {"phase": "Bound", "lastPhaseTransitionTime": "2026-01-01T00:00:01Z"},
    })
}

fn claim(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": format!("data-database-{number}"), "namespace": format!("team-{}", number % 50),
            "uid": format!("{number:08}-2222-4f0e-9a41-2b6d5e8f0a17"),
            "resourceVersion": (number * 2 + 1).to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["kubernetes.io/pvc-protection"],
            "labels": {"app": "database", "app.kubernetes.io/instance": format!("release-{}", number % 100)},
            "annotations": {"pv.kubernetes.io/bind-completed": "yes",
                            "pv.kubernetes.io/bound-by-controller": "yes",
                            "volume.kubernetes.io/storage-provisioner": "csi.example.com"},
            "managedFields": [{"manager": "kube-controller-manager", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}},
            "storageClassName": "fast", "volumeMode": "Filesystem",
            "volumeName": format!("pvc-{number:08}-7c1f-4f0e-9a41-2b6d5e8f0a17"),
        },
        "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "20Gi"}},
    })
}

fn row<R: Row>(object: &Value) -> R {
    R::from_object(object).expect("a good object")
}

#[test]
fn rows_of_bound_pairs_take_less_than_a_kibibyte_each() {
    let pairs = if std::env::var_os("PVDECK_LONG").is_some() { 100_000 } else { 10_000 };
    let before = HELD.get();
    let mirror = Mirror::default();
    for number in 0..pairs {
        mirror.apply::<Volume>(row(&volume(number)));
        mirror.apply::<Claim>(row(&claim(number)));
    }
    let held = usize::try_from(HELD.get() - before).expect("more than before");
    let each = held / (2 * pairs);
    println!("{pairs} volumes and {pairs} claims: {each} bytes an object, {} MiB", held >> 20);
    assert!(each < 1024, "{each} bytes an object");
    drop(mirror);
    let left = HELD.get() - before;
    assert!(left < 64 << 10, "{left} bytes are left of a dropped mirror");
}
