//! What stands in `examples/`, given to kubectl as its README says.

use std::path::{Path, PathBuf};

use crate::kubectl::{has, with_each};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

#[tokio::test]
async fn example_manifests_apply_and_bind() {
    with_each(async |kubectl| {
        let apply = format!("apply -f {}", folder("manifests").display());
        let applied = kubectl.good(&apply).await;
        has(
            &applied,
            &[
                "persistentvolume/nfs-shared created",
                "persistentvolumeclaim/shared created",
                "statefulset.apps/web created",
                "storageclass.storage.k8s.io/standard created",
            ],
        );
        for (claim, volume) in [
            ("shared", "nfs-shared"),
            ("payroll", "nfs-payroll"),
            ("uploads", "nfs-uploads"),
            ("needs-gold", "disk-fast"),
            ("raw", "raw-disk"),
        ] {
            let bound =
                format!("get pvc {claim} -o jsonpath={{.status.phase}}/{{.spec.volumeName}}");
            kubectl.until(&bound, &format!("Bound/{volume}")).await;
        }
        // A Secret's stringData and a StatefulSet's claim templates are stored
        // in other words than they were given: kubectl never finds them equal.
        let reworded = ["secret/credentials", "statefulset.apps/web"];
        let again = kubectl.good(&apply).await;
        let mut again = again.lines().filter(|line| !reworded.iter().any(|r| line.starts_with(r)));
        assert_eq!(again.find(|line| !line.ends_with(" unchanged")), None);
    })
    .await;
}

#[tokio::test]
async fn example_mistakes_are_refused_by_the_server_and_kubectl_says_why() {
    with_each(async |kubectl| {
        for entry in std::fs::read_dir(folder("mistakes")).expect("the mistakes") {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("a text file");
            let answer = text.lines().find_map(|line| line.strip_prefix("# answer: "));
            let (code, message) = answer.and_then(|a| a.split_once(' ')).expect("an answer");
            // Unknown fields are found by the server only if it is asked to.
            if kubectl.is_old && message.contains("unknown field") {
                continue;
            }
            let validate = if kubectl.is_old { "--validate=false" } else { "--validate=strict" };
            let create = format!("create {validate} -f {}", path.display());
            let said = kubectl.run(&create).await.bad();
            // kubectl lists several causes under each other.
            let cause = message.split_once(" is invalid: ").map_or(message, |(_, cause)| cause);
            let first = cause.trim_start_matches('[').split(", spec").next().unwrap_or(cause);
            assert!(said.contains(first), "{code} {message}\nkubectl: {said}");
        }
    })
    .await;
}
