//! The actors: order, registry, router, pollers, journal, webhook sender, guardians.
