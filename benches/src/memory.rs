//! Memory of the console's own cache: what the mirror keeps of claims and
//! volumes, counted by the allocator, with nothing else in the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use pvdeck::mirror::Mirror;
use pvdeck::model::claim::Claim;
use pvdeck::model::row::Row as _;
use pvdeck::model::volume::Volume;
use serde_json::{Value, json};

use crate::load;
use crate::measure::resident;

/// The system's allocator, counting when asked to.
pub struct Counting;

/// Off but for the run that measures memory: two cores that count every
/// allocation in one place would slow each other.
static COUNTS: AtomicBool = AtomicBool::new(false);
static HELD: AtomicI64 = AtomicI64::new(0);

fn count(bytes: usize, sign: i64) {
    if COUNTS.load(Ordering::Relaxed) {
        HELD.fetch_add(sign * bytes as i64, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        unsafe { System.dealloc(at, layout) }
    }
}

/// Begins to count; what is held so far.
pub fn count_from_here() -> i64 {
    COUNTS.store(true, Ordering::Relaxed);
    held()
}

/// What is held of what was allocated since counting began, in bytes.
pub fn held() -> i64 {
    HELD.load(Ordering::Relaxed)
}

/// So many pairs, bound, taken in one by one as a watch brings them.
pub fn mirror(pairs: usize) -> Value {
    let before = (count_from_here(), resident().0);
    let mirror = Mirror::default();
    for n in 0..pairs {
        mirror.apply(Volume::from_object(&bound_volume(n)).expect("a row"));
        mirror.apply(Claim::from_object(&bound_claim(n)).expect("a row"));
    }
    let held = held() - before.0;
    let grown = resident().0.saturating_sub(before.1);
    let objects = mirror.read(|tables| tables.volumes.len() + tables.claims.len());
    json!({
        "objects": objects, "held_bytes_each": held as f64 / objects as f64,
        "resident_bytes_each": grown as f64 / objects as f64,
    })
}

/// Volume number `n`, bound to the claim of that number.
pub fn bound_volume(n: usize) -> Value {
    let mut volume = load::volume(n);
    metadata(&mut volume, uid(n, 0), 2 * n + 1, "kubernetes.io/pv-protection");
    volume["metadata"]["annotations"] = json!({"pv.kubernetes.io/bound-by-controller": "yes"});
    volume["spec"]["volumeMode"] = "Filesystem".into();
    volume["spec"]["claimRef"] = json!({
        "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": "default",
        "name": load::claim_name(n), "uid": uid(n, 1), "resourceVersion": "1",
    });
    volume["status"] = json!({"phase": "Bound", "lastPhaseTransitionTime": "2026-01-01T00:00:00Z"});
    volume
}

/// Claim number `n`, bound.
pub fn bound_claim(n: usize) -> Value {
    let mut claim = load::claim(n);
    metadata(&mut claim, uid(n, 1), 2 * n + 2, "kubernetes.io/pvc-protection");
    claim["metadata"]["annotations"] = json!({
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
    });
    claim["spec"]["volumeMode"] = "Filesystem".into();
    claim["spec"]["volumeName"] = load::volume_name(n).into();
    claim["status"] = json!({
        "phase": "Bound", "accessModes": ["ReadWriteMany"],
        "capacity": claim["spec"]["resources"]["requests"].clone(),
    });
    claim
}

fn metadata(object: &mut Value, uid: String, version: usize, finalizer: &str) {
    let metadata = &mut object["metadata"];
    metadata["uid"] = uid.into();
    metadata["resourceVersion"] = version.to_string().into();
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    metadata["finalizers"] = json!([finalizer]);
}

fn uid(n: usize, kind: usize) -> String {
    format!("{n:08x}-0000-4000-8000-{kind:012x}")
}
