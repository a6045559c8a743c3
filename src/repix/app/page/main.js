import { start } from './page.js';
import * as derain from './derain.js';
import * as blend from './blend.js';
import * as translate from './translate.js';
import * as compare from './compare.js';

await start([derain, blend, translate, compare]);
