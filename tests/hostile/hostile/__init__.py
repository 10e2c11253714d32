"""Attacks on a real server over HTTP/2, and what a victim beside them notices.

Three processes: the server (the real binary), a victim (steady calls, fresh connections, one watch
and one agent), and one attacker at a time. Everything stays on loopback and is bounded in time,
rate and number of connections.
"""
