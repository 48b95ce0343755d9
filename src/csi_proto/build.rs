//! Compiles the two protocols with a compiler written in Rust, so that no tool
//! is needed that a fresh machine lacks.

const FILES: [&str; 2] = ["csi.proto", "registration.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    tonic_prost_build::configure()
        .type_attribute(".", "#[derive(serde::Serialize)]")
        .field_attribute("creation_time", r#"#[serde(serialize_with = "crate::seconds")]"#)
        // Every field of this name holds secrets, in whichever message.
        .field_attribute("secrets", r#"#[serde(serialize_with = "crate::stripped")]"#)
        // Tokens of service accounts are handed over in one of its entries.
        .field_attribute("volume_context", r#"#[serde(serialize_with = "crate::without_tokens")]"#)
        .compile_fds(protox::compile(FILES, ["proto"])?)?;
    Ok(())
}
