export * from "./base64.ts";
export * from "./bytes.ts";
export * from "./crc.ts";
export * from "./cursor.ts";
export * from "./guid.ts";
export * from "./hex.ts";
export * from "./struct.ts";
export * from "./text.ts";
