//! A crash at every write of the controller leads to the same end.

use super::*;
use crate::crash::{Fault, Plan, WAYS, failures, faulty};

impl Play {
    /// As [`Play::work`], with attachers that attach what is asked for, and a
    /// new controller where the old one died.
    async fn carry_on(&mut self, plan: &Plan) {
        for _ in 0..30 {
            let before = self.revision_but_events();
            self.clock.advance(Duration::from_secs(1)).await;
            if plan.process.replace_if_dead() {
                self.restart();
                self.clock.advance(Duration::from_secs(1)).await;
            }
            for attachment in self.user.list(kind::VOLUME_ATTACHMENT).await {
                let name = attachment["metadata"]["name"].as_str().expect("a name");
                if attachment["status"]["attached"] != true {
                    let object = reference(kind::VOLUME_ATTACHMENT, name);
                    self.user.patch_status(&object, json!({"attached": true})).await;
                }
            }
            for node in ["a", "b"] {
                self.kubelet(node).await;
                self.clock.advance(Duration::from_secs(1)).await;
            }
            // A sweep, and pauses after failures.
            self.clock.advance(Duration::from_secs(61)).await;
            if self.revision_but_events() == before && !plan.process.is_dead() {
                return;
            }
        }
        panic!("no rest in 30 rounds");
    }

    fn revision_but_events(&self) -> Option<u64> {
        let commits = self.embedded.commits_after(0);
        let last = commits.iter().rev().find(|commit| commit.kind != kind::EVENT);
        last.map(|commit| commit.revision)
    }

    async fn ending(&self) -> String {
        let mut lines = Vec::new();
        for node in ["a", "b"] {
            let attached = self.names(node, "volumesAttached").await;
            let in_use = self.names(node, "volumesInUse").await;
            lines.push(format!("{node}: attached {attached:?}, in use {in_use:?}"));
        }
        let attachments = self.user.list(kind::VOLUME_ATTACHMENT).await;
        lines.extend(attachments.iter().map(|attachment| attachment["spec"].to_string()));
        let state = self.world.snapshot();
        let disks = state.disks.iter().filter(|(_, disk)| !disk.attached.is_empty());
        lines.extend(disks.map(|(id, disk)| format!("{id} at {:?}", disk.attached.keys())));
        lines.join("\n")
    }
}

/// Attach, refuse, move, let go: of a disk, a shared one, and a CSI volume.
fn play(fault: Option<Fault>) -> Result<(Arc<Plan>, String), String> {
    run(async || {
        let mut play = Play::new(&["a", "b"]);
        let plan = Plan::new(fault);
        play.start(faulty(play.embedded.base(), plan.clone()));
        for name in ["pv-1", "many-1", "csi-1"] {
            play.volume(name).await;
        }
        play.pod("p", "a", &["pv-1", "csi-1"]).await;
        play.pod("m", "b", &["many-1"]).await;
        play.carry_on(&plan).await;
        play.pod("q", "b", &["pv-1", "csi-1"]).await;
        play.pod("n", "a", &["many-1"]).await;
        play.carry_on(&plan).await;
        play.delete(kind::POD, "p").await;
        play.carry_on(&plan).await;
        play.delete(kind::POD, "n").await;
        play.carry_on(&plan).await;
        let end = play.ending().await;
        let revision = play.revision_but_events();
        play.restart();
        play.carry_on(&plan).await;
        if play.revision_but_events() != revision {
            return Err("not settled".to_owned());
        }
        Ok((plan, end))
    })
}

#[test]
fn a_crash_at_any_write_of_attaching_leads_to_the_same_end() {
    let (plan, wanted) = play(None).expect("the story without fault");
    let writes = plan.writes();
    println!("{writes} writes, {} ways each; without fault they end as\n{wanted}", WAYS.len());
    assert!(writes >= 12, "the story is told: {writes}");
    let cases: Vec<_> = (0..writes).flat_map(|at| WAYS.map(|way| Fault::Write(at, way))).collect();
    let failed = failures(&cases, |fault| {
        let outcome = play(Some(*fault)).and_then(|(plan, end)| {
            let fired = plan.fired().ok_or("the fault did not fire")?;
            if end == wanted { Ok(()) } else { Err(format!("at {fired}: it ends as\n{end}")) }
        });
        outcome.err().map(|why| format!("{fault:?}: {why}"))
    });
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
