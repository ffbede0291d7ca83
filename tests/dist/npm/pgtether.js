#!/usr/bin/env node
"use strict";
// Becomes the program of the package for this machine, or starts it and passes on signals and its end.
const { spawn } = require("node:child_process");
const { constants } = require("node:os");

const PACKAGE = `pgtether-${process.platform}-${process.arch}`;

function find() {
  try {
    return require.resolve(`${PACKAGE}/bin/pgtether`);
  } catch {
    console.error(
      `pgtether: the package ${PACKAGE} is not installed. There are packages for linux-x64 and linux-arm64; npm leaves ` +
        "them out with --omit=optional, and if node_modules was made on another kind of machine: run npm install here.",
    );
    // As a shell that finds no program.
    process.exit(127);
  }
}

function start(program, args) {
  const child = spawn(program, args, { stdio: "inherit" });
  // A terminal tells all processes in its foreground itself: passed on, these would arrive twice.
  const byTerminal = process.stdin.isTTY ? ["SIGINT", "SIGQUIT", "SIGWINCH"] : [];
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"]) {
    process.on(signal, () => byTerminal.includes(signal) || child.kill(signal));
  }
  child.on("error", (error) => {
    console.error(`pgtether: ${program} cannot be started: ${error.message}`);
    process.exit(126);
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    // Ends by the same signal; process 1 of a container cannot, and gives a shell's code for it.
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    process.exit(128 + constants.signals[signal]);
  });
}

const program = find();
const args = process.argv.slice(2);
// Since Node 22.15: no process stays between the caller and the program.
if (process.execve) process.execve(program, [program, ...args], process.env);
start(program, args);
