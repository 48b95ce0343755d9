//! Volumes of the kinds that are no driver's, growing.

use pvdeck::model::kind;
use pvdeck::plugins::host::Disks;
use serde_json::{Value, json};

use super::{Cluster, WAITS, claimed, disk, local};

impl Cluster {
    /// Claims of this class may ask for more.
    async fn growing_class(&self) {
        let class = json!({
            "metadata": {"name": "manual"}, "provisioner": "kubernetes.io/no-provisioner",
            "allowVolumeExpansion": true,
        });
        self.create(kind::STORAGE_CLASS, class).await;
    }

    pub async fn ask_for(&self, size: &str) {
        let more = json!({"spec": {"resources": {"requests": {"storage": size}}}});
        self.patch(kind::PERSISTENT_VOLUME_CLAIM, "data", more).await;
    }

    pub async fn claim_status(&self) -> Value {
        let claim = self.get(kind::PERSISTENT_VOLUME_CLAIM, "data").await;
        claim.expect("a claim")["status"].clone()
    }

    pub async fn until_grown(&self, size: &str) {
        let has = async || self.claim_status().await["capacity"]["storage"] == size;
        self.until("the claim has what it asks for", has).await;
        let status = self.claim_status().await;
        let rest = [&status["conditions"], &status["allocatedResourceStatuses"]];
        assert!(rest.iter().all(|rest| rest.is_null()), "{status}");
        let volume = self.get(kind::PERSISTENT_VOLUME, "data").await.expect("a volume");
        assert_eq!(volume["spec"]["capacity"]["storage"], size);
    }

    fn ran(&self, command: &str) -> usize {
        let records = self.host("node-1").records();
        records.iter().filter(|record| record.line().starts_with(command)).count()
    }
}

#[test]
fn a_block_disk_grows_under_the_pod_that_uses_it() {
    Cluster::run(async |cluster| {
        cluster.world.machines().create("data", 1 << 30).await.expect("made");
        cluster.growing_class().await;
        cluster.claim(disk()).await;
        cluster.pod("user", claimed(), WAITS).await;
        cluster.until_phase("user", "Running").await;
        cluster.ask_for("2Gi").await;
        cluster.until_grown("2Gi").await;
        assert_eq!(cluster.ran("resize2fs"), 1);
        assert_eq!(cluster.phase("user").await, "Running");
        cluster.until_told("user", "FileSystemResizeSuccessful").await;
    });
}

#[test]
fn a_block_disk_that_nobody_uses_grows_and_its_filesystem_with_the_next_pod() {
    Cluster::run(async |cluster| {
        cluster.world.machines().create("data", 1 << 30).await.expect("made");
        cluster.growing_class().await;
        cluster.claim(disk()).await;
        cluster.pod("first", claimed(), "true").await;
        cluster.until_phase("first", "Succeeded").await;
        cluster.delete(kind::POD, "first", None).await;
        cluster.world.clock.settle(100).await;
        cluster.ask_for("2Gi").await;
        cluster.world.clock.settle(100).await;
        let status = cluster.claim_status().await;
        assert_eq!(status["capacity"]["storage"], "1Gi", "{status}");
        assert_eq!(status["allocatedResourceStatuses"]["storage"], "NodeResizePending");
        assert_eq!(cluster.ran("resize2fs"), 0);
        cluster.pod("second", claimed(), WAITS).await;
        cluster.until_grown("2Gi").await;
        assert_eq!(cluster.ran("resize2fs"), 1);
    });
}

/// The plugin of local volumes has a part of it on the node only: nobody grows
/// what is behind one, as upstream.
#[test]
fn a_local_volume_that_is_asked_for_more_waits_for_somebody_else() {
    Cluster::run(async |cluster| {
        cluster.make_directory("/mnt/disks/one").await;
        cluster.growing_class().await;
        cluster.claim(local("/mnt/disks/one")).await;
        cluster.pod("user", claimed(), WAITS).await;
        cluster.until_phase("user", "Running").await;
        cluster.ask_for("2Gi").await;
        let text = "ExternalExpanding: waiting for an external controller to expand this PVC";
        cluster.until_told("data", text).await;
        assert_eq!(cluster.claim_status().await["capacity"]["storage"], "1Gi");
        // Whoever has given it more room says so in the volume.
        let grown = json!({"spec": {"capacity": {"storage": "2Gi"}}});
        cluster.patch(kind::PERSISTENT_VOLUME, "data", grown).await;
        cluster.until_grown("2Gi").await;
    });
}
