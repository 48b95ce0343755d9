//! Whose files are listed: the pod, the volume, the path, and where that is on
//! its node.

use crate::ui::data::Data;
use crate::ui::state::Layer;
use crate::ui::target::Target;
use crate::ui::theme::Role;
use crate::ui::views::page::Page;

pub fn head(page: &mut Page<'_>, pod: &Target, layer: &Layer, data: &Data) {
    let Some(at) = &layer.files else { return };
    let node = data.node_of(pod).map(|node| format!(" on {}", node.name)).unwrap_or_default();
    let place = match at.volume.as_str() {
        "" => "   its mounted volumes".to_owned(),
        volume => format!("   volume {volume}   {}", at.path),
    };
    page.pieces(&[(Role::Title, &format!(" pod {}{node}", pod.key())), (Role::Text, &place)]);
    let hint = match at.volume.as_str() {
        "" => " Enter opens one".to_owned(),
        _ => " Enter opens; :file NAME TEXT creates a small one; ctrl-d deletes, after asking"
            .to_owned(),
    };
    page.pieces(&[(Role::Dim, &hint)]);
}
