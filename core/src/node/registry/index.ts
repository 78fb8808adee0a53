export { type LocationOptions, type OpenedLocation, openLocation } from "./locations.ts";
export { openRegistries, type Registries, type RegistriesOptions } from "./registries.ts";
