"""The way in for analysts: their address, and a port for clients that know no socket."""
