//! Addresses and ids of simulated nodes, pods and containers: made from their
//! names, so that they come out the same in every run.

/// A node's place among the nodes: the number at the end of its name, or one
/// made from the name.
fn number(node: &str) -> u32 {
    let digits = node.len() - node.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let number = node[node.len() - digits..].parse::<u32>().ok().filter(|n| *n < 0x8000);
    number.unwrap_or_else(|| 0x8000 | (hash(node, 0) & 0x7fff) as u32)
}

/// A node's address: `node-1` has 10.0.0.1.
pub fn of_node(node: &str) -> String {
    let number = number(node);
    format!("10.0.{}.{}", number >> 8, number & 0xff)
}

/// The address of the nth pod of a node, from 1; after 254 they repeat, as
/// they do where addresses are given out again.
pub fn of_pod(node: &str, nth: u32) -> String {
    let number = number(node);
    format!("10.{}.{}.{}", 64 + (number >> 8) % 192, number & 0xff, (nth - 1) % 254 + 1)
}

/// The id of one run of a container, in 64 hexadecimal digits.
pub fn container_id(pod_uid: &str, container: &str, attempt: u32) -> String {
    let text = format!("{pod_uid}/{container}/{attempt}");
    (0..4).map(|part| format!("{:016x}", hash(&text, part))).collect()
}

/// FNV-1a, begun anew for each part.
fn hash(text: &str, part: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    text.as_bytes().iter().fold(start, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_from_names() {
        assert_eq!(of_node("node-1"), "10.0.0.1");
        assert_eq!(of_node("node-1000"), "10.0.3.232");
        assert_eq!(of_pod("node-2", 3), "10.64.2.3");
        assert_eq!(of_pod("node-2", 255), "10.64.2.1");
        assert_ne!(of_node("worker"), of_node("other"));
        assert_eq!(container_id("u", "main", 0).len(), 64);
        assert_ne!(container_id("u", "main", 0), container_id("u", "main", 1));
    }
}
