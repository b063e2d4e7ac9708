//! Nothing: the models are in `tests/engine.rs`, and need `--cfg littoral_model`.
