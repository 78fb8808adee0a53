/**
 * The newc cpio archive, byte for byte: what Linux unpacks as its initramfs.
 * Spec: Documentation/driver-api/early-userspace/buffer-format.rst of Linux (struct cpio_header).
 */
import { defineStruct, type Field } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";

export const HEADER_SIZE = 110; // bytes
/** Names and contents are padded to multiples of this many bytes, counted from the start of the archive. */
export const ALIGNMENT = 4;
export const MAGIC = "070701";
/** The same with a sum over the content in `check`; read, never written. */
export const MAGIC_WITH_SUM = "070702";
/** The name that ends an archive. */
export const TRAILER = "TRAILER!!!";

/** Bytes of a name with its NUL. Linux refuses longer ones (PATH_MAX). */
export const MAX_NAME_SIZE = 4096;

/** Text of `size` ASCII characters. */
function ascii(offset: number, size: number): Field<string> {
  return {
    offset,
    size,
    read(view) {
      let text = "";
      for (let i = 0; i < size; i++) text += String.fromCharCode(view.getUint8(offset + i));
      return text;
    },
    write(view, value) {
      if (value.length !== size) throw new RangeError(`text of ${size} characters: ${value.length} do not fit`);
      for (let i = 0; i < size; i++) view.setUint8(offset + i, value.charCodeAt(i));
    },
  };
}

const hexText = (offset: number): Field<string> => ascii(offset, 8);

/** 32 bits as eight hexadecimal digits. Both cases are read, as Linux does; capitals are written, as GNU cpio does. */
function hex32(offset: number): Field<number> {
  const text = hexText(offset);
  return {
    offset,
    size: text.size,
    read(view) {
      const digits = text.read(view);
      if (!/^[0-9a-fA-F]{8}$/.test(digits))
        throw new FormatError("bad-number", `cpio header: ${JSON.stringify(digits)} is not eight hexadecimal digits`, {
          offset,
        });
      return Number.parseInt(digits, 16);
    },
    write(view, value) {
      if (!Number.isSafeInteger(value) || value < 0 || value > 0xffffffff)
        throw new RangeError(`hexadecimal field: ${value} does not fit`);
      text.write(view, value.toString(16).toUpperCase().padStart(8, "0"));
    },
  };
}

/** struct cpio_header */
export const RawCpioHeader = /* @__PURE__ */ defineStruct("cpio.header", HEADER_SIZE, {
  magic: ascii(0, 6),
  inode: hex32(6), // names with the same inode and more than one link are one file
  mode: hex32(14), // st_mode, type bits included
  uid: hex32(22),
  gid: hex32(30),
  links: hex32(38), // st_nlink
  mtime: hex32(46), // seconds since 1970
  fileSize: hex32(54), // bytes
  deviceMajor: hex32(62), // of the file system that held the file
  deviceMinor: hex32(70),
  nodeMajor: hex32(78), // of a device node
  nodeMinor: hex32(86),
  nameSize: hex32(94), // bytes, the NUL included
  check: hex32(102), // sum of the content's bytes, with the magic 070702; else 0
});
