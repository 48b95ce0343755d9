//! Pods are made in batches of 1, 2, 4 and so on, and none beyond a batch in
//! which one was refused: what the server refuses of all is tried a few times,
//! not as often as there are pods to make. Upstream: `slowStartBatch` in
//! `pkg/controller/replicaset` and `pkg/controller/statefulset`.

/// Whether a batch ends after so many tries: after 1, 3, 7 and so on.
pub fn batch_ends_after(tries: usize) -> bool {
    (tries + 1).is_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_double() {
        let ends: Vec<usize> = (1..40).filter(|tries| batch_ends_after(*tries)).collect();
        assert_eq!(ends, [1, 3, 7, 15, 31]);
    }
}
