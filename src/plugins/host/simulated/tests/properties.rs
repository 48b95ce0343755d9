//! Random orders of steps, faults and crashes: no file is ever lost, and no
//! device that holds something is ever formatted.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    Up(usize, usize),
    Down(usize),
    Write,
    /// The next command on any node fails, hangs for good, or is not answered.
    Fault(u8),
    Reboot(usize),
    /// One of the next requests to a node is done but never answered.
    Crash(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2usize, 0..2usize).prop_map(|(node, pod)| Step::Up(node, pod)),
        3 => (0..2usize).prop_map(Step::Down),
        2 => Just(Step::Write),
        2 => (0..3u8).prop_map(Step::Fault),
        1 => (0..2usize).prop_map(Step::Reboot),
        1 => (0..2usize).prop_map(Step::Crash),
    ]
}

/// Runs a future until it ends or waits for what never comes.
fn settle<T>(future: impl Future<Output = T>) -> Option<T> {
    future.now_or_never()
}

fn play(steps: &[Step]) {
    let world = world();
    settle(world.create("pv-1", 1 << 30)).expect("at once").expect("created");
    let nodes = ["n1", "n2"];
    let mut written = None;
    let mut place = None;
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Up(node, pod) => {
                let pod = format!("pod-{pod}");
                let mut one = volume(&world, nodes[node], block_disk(), &pod);
                if let Some(Ok(path)) = settle(up(&world, &mut one)) {
                    place = Some((nodes[node], path));
                }
            }
            Step::Down(node) => {
                for pod in ["pod-0", "pod-1"] {
                    let one = volume(&world, nodes[node], block_disk(), pod);
                    settle(down(&world, &one));
                }
                place = place.filter(|(own, _)| *own != nodes[node]);
            }
            Step::Write => write(&world, place.as_ref(), number, &mut written),
            Step::Fault(kind) => {
                let effect = match kind {
                    0 => Effect::Fail { exit: 1, output: "fault".into() },
                    1 => Effect::Hang,
                    _ => Effect::LoseAnswer,
                };
                let verb = [Verb::Format, Verb::Mount, Verb::Unmount][number % 3];
                let rule = Rule {
                    node: None,
                    verb: Some(verb),
                    object: None,
                    after: 0,
                    times: Some(1),
                    effect,
                };
                world.add_rule(rule);
            }
            Step::Reboot(node) => {
                world.reboot(nodes[node]);
                place = place.filter(|(own, _)| *own != nodes[node]);
            }
            Step::Crash(node) => {
                let rule = Rule {
                    node: Some(nodes[node].to_owned()),
                    verb: None,
                    object: None,
                    after: u32::try_from(number % 7).unwrap_or_default(),
                    times: Some(1),
                    effect: Effect::LoseAnswer,
                };
                world.add_rule(rule);
            }
        }
        assert!(world.snapshot().formatted_over.is_empty(), "formatted over after {step:?}");
    }
    // Faults stop: everything comes down, up on one node, and the file is there.
    world.calm();
    for node in nodes {
        for pod in ["pod-0", "pod-1"] {
            let one = volume(&world, node, block_disk(), pod);
            settle(down(&world, &one));
        }
        for pod in ["pod-0", "pod-1"] {
            let one = volume(&world, node, block_disk(), pod);
            settle(down(&world, &one)).expect("answers").expect("down");
        }
    }
    let mut one = volume(&world, "n2", block_disk(), "pod-9");
    let path = settle(up(&world, &mut one)).expect("answers").expect("up");
    if let Some(content) = written {
        let read = settle(Files(&*one.host).read(&format!("{path}/note"), 99));
        assert_eq!(read, Some(Ok(content)));
    }
    assert!(world.snapshot().formatted_over.is_empty());
}

fn write(
    world: &World,
    place: Option<&(&str, String)>,
    number: usize,
    written: &mut Option<Vec<u8>>,
) {
    let Some((node, path)) = place else { return };
    let host = world.host(node).expect("a host");
    let mounted = settle(host.mounts()).and_then(Result::ok);
    if !mounted.is_some_and(|table| table.is_mount_point(path)) {
        return;
    }
    let content = number.to_string().into_bytes();
    let file = format!("{path}/note");
    if settle(Files(&*host).write(&file, &content, 0o644)).is_some_and(|done| done.is_ok()) {
        *written = Some(content);
    } else if settle(Files(&*host).read(&file, 99)) == Some(Ok(content.clone())) {
        // Done, but not answered.
        *written = Some(content);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_steps_loses_a_file_or_formats_twice(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        play(&steps);
    }
}
