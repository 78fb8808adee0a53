// The attack table for channels, in memory: the wide matrix.
import { attackReport } from "../support/attack-report.ts";
import { memoryRepository } from "../support/memory-repository.ts";
import { playAttacks } from "./attacks.ts";

playAttacks(attackReport("Attacks on a channel, in memory"), async () => memoryRepository());
