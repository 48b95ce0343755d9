//! What goes with CSI drivers: the record of which nodes have them, and their
//! companions, a loop of each per driver.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::hosted::TO_ATTACH;
use super::loops::{Looks, Loops, Title};
use crate::controllers::csi::attacher::Attacher;
use crate::controllers::csi::capacity::{self, Publisher};
use crate::controllers::csi::embedded::Csi;
use crate::controllers::csi::modifier::Modifier;
use crate::controllers::csi::provisioner::Provisioner;
use crate::controllers::csi::published::{self, PublishedCheck};
use crate::controllers::csi::registration::Registration;
use crate::controllers::csi::resizer::Resizer;
use crate::controllers::csi::{HostedDriver, Parts, liveness, registry};
use crate::controllers::events::Recorder;
use crate::controllers::work_loop::Reconciler;
use crate::plugins::csi::driver::state::identity;

/// How often companions look at everything again (upstream: their informers'
/// resync).
const LOOK: Duration = Duration::from_secs(600);

/// How often drivers that came or went are written down.
const REGISTERED_LOOK: Duration = Duration::from_secs(1);

/// Starts all of them.
pub(super) fn start(loops: &mut Loops<'_>, csi: &Csi) {
    if csi.is_empty() {
        return;
    }
    record_drivers(loops, csi);
    for driver in &csi.hosted {
        Companions { driver, loops }.start();
    }
    let own = csi.hosted.iter().filter(|driver| !driver.is_stand_in());
    let drivers: Vec<HostedDriver> = own.cloned().collect();
    let watch = liveness::watch(drivers, csi.on_nodes.clone(), loops.clock.clone());
    let title = Title::new("csi-livenessprobe", "csi-livenessprobe");
    loops.service(title, watch.boxed());
}

/// Who writes down which nodes have which drivers.
fn record_drivers(loops: &mut Loops<'_>, csi: &Csi) {
    let kubelet = "kubelet";
    let parts = loops.parts(kubelet, Some(kubelet));
    let health = parts.health.clone();
    let registration = Arc::new(Registration::new(parts, csi.on_nodes.clone()));
    // Without a directory to watch, drivers are there from the start.
    let round = csi.registry.is_some().then_some(REGISTERED_LOOK);
    let title = Title::new("csi-node-registration", kubelet);
    loops.controller(title, Looks { needs: TO_ATTACH, round }, &health, registration);
    if let Some(watched) = csi.registry.clone() {
        let work = registry::watch(watched, loops.clock.clone());
        loops.service(Title::new("csi-registry", kubelet), work.boxed());
    }
}

/// The companions of one driver.
struct Companions<'a, 'b> {
    driver: &'a HostedDriver,
    loops: &'a mut Loops<'b>,
}

impl Companions<'_, '_> {
    fn start(mut self) {
        let (provisioner, attacher, resizer) = ("csi-provisioner", "csi-attacher", "csi-resizer");
        let name = self.driver.provisioner();
        // Both free a volume that is deleted: as a rule the attacher comes first.
        if !self.driver.is_stand_in() {
            let recorder = self.loops.recorder(attacher, attacher.into(), attacher);
            self.attach(attacher, recorder);
        }
        let run = identity(&format!("{name}@{}", self.loops.clock.now()));
        let component = format!("{name}_pvdeck_{run}").into();
        let recorder = self.loops.recorder(provisioner, component, provisioner);
        let one = |parts| -> Arc<dyn Reconciler> { Arc::new(Provisioner::new(parts)) };
        self.run(provisioner, provisioner, LOOK, recorder, one);
        let recorder = self.loops.recorder(provisioner, provisioner.into(), provisioner);
        let one = |parts| -> Arc<dyn Reconciler> { Arc::new(Publisher::new(parts)) };
        self.run("csi-capacity", provisioner, capacity::POLL, recorder, one);
        if self.driver.is_stand_in() {
            return;
        }
        let component = format!("external-resizer {name}").into();
        let recorder = self.loops.recorder(resizer, component, resizer);
        let one = |parts| -> Arc<dyn Reconciler> { Arc::new(Resizer::new(parts)) };
        self.run(resizer, resizer, LOOK, recorder.clone(), one);
        let one = |parts| -> Arc<dyn Reconciler> { Arc::new(Modifier::new(parts)) };
        self.run("csi-modifier", resizer, LOOK, recorder, one);
    }

    /// The attacher, and what checks its work with the driver.
    fn attach(&mut self, actor: &'static str, recorder: Recorder) {
        let mut attacher = None;
        self.run(actor, actor, LOOK, recorder.clone(), |parts| {
            attacher.insert(Arc::new(Attacher::new(parts))).clone()
        });
        let Some(attacher) = attacher else { return };
        self.run("csi-attacher-check", actor, published::ROUND, recorder, |_| {
            Arc::new(PublishedCheck::new(attacher))
        });
    }

    fn run(
        &mut self,
        name: &'static str,
        actor: &'static str,
        round: Duration,
        recorder: Recorder,
        make: impl FnOnce(Parts) -> Arc<dyn Reconciler>,
    ) {
        let shell = self.loops.parts_with(actor, recorder);
        let health = shell.health.clone();
        let reconciler = make(Parts {
            driver: self.driver.provisioner(),
            client: self.driver.client.clone(),
            settings: self.driver.settings.clone(),
            shell,
        });
        let looks = Looks { needs: TO_ATTACH, round: Some(round) };
        let title = Title::new(name, actor).of(&self.driver.provisioner());
        self.loops.controller(title, looks, &health, reconciler);
    }
}
