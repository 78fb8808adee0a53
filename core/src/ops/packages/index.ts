export { type Package, type PackageManager, type Packages, readPackages } from "./packages.ts";
