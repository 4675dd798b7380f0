//! Open-loop load, scenarios, report.
