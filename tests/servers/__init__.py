"""Servers for the tests: wire-exact fakes on loopback, and a scripted one that misbehaves on purpose."""
