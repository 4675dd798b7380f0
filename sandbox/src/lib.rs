//! The channels as local HTTP servers, wire-compatible, with faults on command.
