//! The images of tasks.

use std::rc::Rc;

use super::{Refusal, ignored_tags};
use crate::fields::{Fields, text};
use crate::node::Node;
use crate::plan::ImageResource;
use crate::problem::Problems;

/// An image: by its name if that says all, as a resource otherwise.
pub enum Image {
    Name(String),
    Resource(ImageResource),
}

/// Types whose `source` says which image it is.
const BY_NAME: [&str; 2] = ["registry-image", "docker-image"];

pub fn image_resource(node: &Node, problems: &mut Problems) -> Option<Image> {
    let mut fields = Fields::new(node, "an `image_resource`", problems)?;
    let source = fields.get("source");
    let version = fields.get("version");
    let resource = ImageResource {
        kind: fields.text("type", problems).unwrap_or_default(),
        source: fields.object("source", problems),
        params: fields.object("params", problems),
        version: version.and_then(|node| super::resource::version(node, problems)),
        name: fields.text("name", problems),
        tags: ignored_tags(&mut fields, problems),
    };
    fields.finish_loosely(problems);
    let is_by_name = resource.kind.is_empty() || BY_NAME.contains(&resource.kind.as_str());
    let name = source.filter(|_| is_by_name).and_then(|source| name(source, version, problems));
    Some(name.map_or(Image::Resource(resource), Image::Name))
}

/// `repository:tag`, or `repository@digest` of a version.
fn name(source: &Node, version: Option<&Rc<Node>>, problems: &mut Problems) -> Option<String> {
    let repository = source.get("repository")?.scalar().filter(|name| !name.is_empty())?;
    if source.get("username").or_else(|| source.get("password")).is_some() {
        problems.notice(
            "`username` and `password` of an `image_resource` are not used: the driver pulls images with the \
             credentials of this machine",
        );
    }
    if let Some(version) = version {
        let digest = version.get("digest").and_then(|node| node.scalar());
        return digest.map(|digest| format!("{repository}@{digest}"));
    }
    let tag = source.get("tag").and_then(|node| node.scalar()).filter(|tag| !tag.is_empty());
    Some(tag.map_or_else(|| repository.clone(), |tag| format!("{repository}:{tag}")))
}

/// `docker:///repository#tag`. Other file systems would be those of a worker.
pub fn rootfs(node: &Node, refusal: &mut Refusal, problems: &mut Problems) -> Option<String> {
    let uri = text(node, problems)?;
    let name = uri.strip_prefix("docker://").map(|name| name.trim_start_matches('/'));
    match name.filter(|name| !name.is_empty()) {
        Some(name) => Some(name.replacen('#', ":", 1)),
        None if node.is_open() => None,
        None => {
            let uri = node.quoted();
            let reason = format!("the file system {uri} is not on this machine: name an image");
            refusal.say(node.mark, reason, problems);
            None
        }
    }
}
