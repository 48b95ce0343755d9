//! Amounts of what a node has and pods ask for.

use std::sync::Arc;

use serde_json::Value;

use crate::model::quantity::Quantity;

/// Processor, memory and other resources: asked for, or on offer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// Thousandths of a processor.
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    pub ephemeral_storage_bytes: i64,
    /// Any other, such as `example.com/gpu`, sorted by name.
    pub others: Vec<(Arc<str>, i64)>,
}

impl Resources {
    /// What a container that asks for nothing is taken to use, for scoring
    /// (upstream: `DefaultMilliCPURequest`, `DefaultMemoryRequest`).
    pub const USUAL: Resources = Resources {
        cpu_milli: 100,
        memory_bytes: 200 * 1024 * 1024,
        ephemeral_storage_bytes: 0,
        others: Vec::new(),
    };

    /// Reads a map of quantities; what it does not name is as in `unset`.
    /// Amounts that cannot be read count as nothing.
    pub fn from_json(map: &Value, unset: &Self) -> Self {
        let mut read = unset.clone();
        read.others.clear();
        for (name, value) in map.as_object().into_iter().flatten() {
            let amount = value.as_str().and_then(|text| Quantity::parse(text).ok());
            let amount = amount.or(value.as_i64().map(Quantity::bytes)).unwrap_or(Quantity::ZERO);
            match name.as_str() {
                "cpu" => read.cpu_milli = fits(amount.milli()),
                "memory" => read.memory_bytes = fits(amount.units()),
                "ephemeral-storage" => read.ephemeral_storage_bytes = fits(amount.units()),
                "pods" => {}
                _ => read.others.push((Arc::from(name.as_str()), fits(amount.units()))),
            }
        }
        read.others.sort();
        read
    }

    /// What a pod asks for: its containers together, or the largest step of its
    /// init containers if that is more, and its overhead.
    ///
    /// Init containers that go on beside the others count for all that start
    /// after them. Requests of the pod as a whole replace those of its
    /// containers.
    pub fn of_pod(spec: &Value, unset: &Self) -> Self {
        let list = |field: &str| spec[field].as_array().into_iter().flatten();
        let request = |c: &Value| Self::from_json(&c["resources"]["requests"], unset);
        let (mut beside, mut step) = (Self::default(), Self::default());
        for container in list("initContainers") {
            let mut with = request(container);
            with.add(&beside);
            if container["restartPolicy"] == "Always" {
                beside = with.clone();
            }
            step.raise_to(&with);
        }
        let mut all = beside;
        list("containers").for_each(|container| all.add(&request(container)));
        all.raise_to(&step);
        all.replace_by(&spec["resources"]["requests"]);
        all.add(&Self::from_json(&spec["overhead"], &Self::default()));
        all
    }

    /// The amount of another resource.
    pub fn other(&self, name: &str) -> i64 {
        let found = self.others.binary_search_by(|(held, _)| (**held).cmp(name));
        found.map_or(0, |at| self.others[at].1)
    }

    pub fn add(&mut self, more: &Self) {
        self.each(more, i64::saturating_add);
    }

    pub fn subtract(&mut self, less: &Self) {
        self.each(less, i64::saturating_sub);
    }

    fn raise_to(&mut self, other: &Self) {
        self.each(other, i64::max);
    }

    fn replace_by(&mut self, map: &Value) {
        for name in map.as_object().into_iter().flatten().map(|(name, _)| name) {
            let of_pod = Self::from_json(map, &Self::default());
            match name.as_str() {
                "cpu" => self.cpu_milli = of_pod.cpu_milli,
                "memory" => self.memory_bytes = of_pod.memory_bytes,
                // Of a pod as a whole nothing else can be asked but huge pages,
                // which nodes here do not have.
                _ => {}
            }
        }
    }

    fn each(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        self.cpu_milli = with(self.cpu_milli, other.cpu_milli);
        self.memory_bytes = with(self.memory_bytes, other.memory_bytes);
        self.ephemeral_storage_bytes =
            with(self.ephemeral_storage_bytes, other.ephemeral_storage_bytes);
        for (name, amount) in &other.others {
            match self.others.binary_search_by(|(held, _)| held.cmp(name)) {
                Ok(at) => self.others[at].1 = with(self.others[at].1, *amount),
                Err(at) => self.others.insert(at, (name.clone(), with(0, *amount))),
            }
        }
    }
}

fn fits(amount: i128) -> i64 {
    amount.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(spec: &Value) -> (i64, i64) {
        let asked = Resources::of_pod(spec, &Resources::default());
        (asked.cpu_milli, asked.memory_bytes)
    }

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn containers_add_up_and_the_largest_init_step_is_the_least() {
        let two = json!({"containers": [container("100m", "1Ki"), container("1", "2Ki")]});
        assert_eq!(asked(&two), (1100, 3072));
        let mut with_init = two.clone();
        with_init["initContainers"] = json!([container("2", "1"), container("1", "1")]);
        assert_eq!(asked(&with_init), (2000, 3072));
    }

    #[test]
    fn containers_that_stay_beside_count_for_all_that_follow() {
        let mut stays = container("500m", "0");
        stays["restartPolicy"] = "Always".into();
        let spec = json!({
            "initContainers": [stays, container("1", "0")],
            "containers": [container("200m", "0")],
            "overhead": {"cpu": "50m"},
        });
        assert_eq!(asked(&spec), (1550, 0));
    }

    #[test]
    fn other_resources_are_kept_by_name() {
        let gpu = |n: i64| json!({"resources": {"requests": {"example.com/gpu": n.to_string()}}});
        let spec = json!({"containers": [gpu(1), gpu(2), container("1", "1")]});
        let asked = Resources::of_pod(&spec, &Resources::default());
        assert_eq!((asked.other("example.com/gpu"), asked.other("none")), (3, 0));
    }

    #[test]
    fn a_container_that_asks_for_nothing_is_taken_to_use_something() {
        let spec = json!({"containers": [{}, container("1", "1")]});
        let usual = Resources::of_pod(&spec, &Resources::USUAL);
        assert_eq!((usual.cpu_milli, usual.memory_bytes), (1100, 200 * 1024 * 1024 + 1));
    }
}
