//! Which proxy the environment asks for, by the rules of Go's HTTP client that
//! kubectl follows.

use std::net::IpAddr;

use http::Uri;

/// The proxy for a server by `HTTPS_PROXY` or `HTTP_PROXY` and `NO_PROXY`, in
/// capitals or not; `None`: ask it directly.
pub(super) fn of_environment(server: &Uri) -> Option<String> {
    let variable = |name: &str| {
        let lower = name.to_ascii_lowercase();
        [name, &lower].iter().find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()))
    };
    let is_plain = server.scheme_str() == Some("http");
    let proxy = variable(if is_plain { "HTTP_PROXY" } else { "HTTPS_PROXY" })?;
    if is_exempt(server, &variable("NO_PROXY").unwrap_or_default()) {
        return None;
    }
    Some(if proxy.contains("://") { proxy } else { format!("http://{proxy}") })
}

/// Whether a server is asked directly: one on this machine, or one that the
/// comma-separated list names by address, network, domain or `*`.
fn is_exempt(server: &Uri, exempt: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let default_port = if server.scheme_str() == Some("http") { 80 } else { 443 };
    let port = server.port_u16().unwrap_or(default_port);
    exempt.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        let entry = entry.to_ascii_lowercase();
        if let Some((network, bits)) = entry.split_once('/') {
            let within = || is_within(address?, network.parse().ok()?, bits.parse().ok()?);
            return within().unwrap_or(false);
        }
        let (name, of_port) = split_port(&entry);
        if of_port.is_some_and(|of_port| of_port != port) {
            return false;
        }
        if let Ok(named) = name.parse::<IpAddr>() {
            return address == Some(named);
        }
        let domain = name.trim_start_matches("*.").trim_start_matches('.');
        let is_below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        // `.example.com` means what is below it, `example.com` also itself.
        is_below || (host == domain && name == domain)
    })
}

fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        // More colons make it an IPv6 address without port.
        Some((name, port)) if !name.contains(':') || name.starts_with('[') => match port.parse() {
            Ok(port) => (name.trim_matches(['[', ']']), Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry.trim_matches(['[', ']']), None),
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> Option<bool> {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (a.to_bits().into(), n.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return None,
    };
    let shift = u32::checked_sub(width, bits)?;
    let kept = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
    Some(kept(address) == kept(network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_exempt_as_go_has_it() {
        for (server, exempt, expected) in [
            ("https://127.0.0.1:6443", "", true),
            ("https://localhost:6443", "", true),
            ("https://[::1]:6443", "", true),
            ("https://k8s.example.com", "", false),
            ("https://k8s.example.com", "*", true),
            ("https://k8s.example.com", "example.com", true),
            ("https://k8s.example.com", ".example.com", true),
            ("https://example.com", ".example.com", false),
            ("https://example.com", "example.com", true),
            ("https://notexample.com", "example.com", false),
            ("https://10.1.2.3:6443", "other, 10.0.0.0/8", true),
            ("https://11.1.2.3:6443", "10.0.0.0/8", false),
            ("https://11.1.2.3:6443", "0.0.0.0/0", true),
            ("https://11.1.2.3:6443", "10.0.0.0/99", false),
            ("https://10.1.2.3:6443", "10.1.2.3", true),
            ("https://10.1.2.3:6443", "10.1.2.3:443", false),
            ("https://k8s.example.com:6443", "k8s.example.com:6443", true),
            ("https://[fd00::1]:6443", "fd00::1", true),
            ("https://[fd00::1]:6443", "fd00::/16", true),
        ] {
            let server: Uri = server.parse().expect("a URI");
            assert_eq!(is_exempt(&server, exempt), expected, "{server} with NO_PROXY={exempt}");
        }
    }
}
