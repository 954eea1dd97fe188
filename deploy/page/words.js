// All that the page says, in English and Chinese.

const number = (locale, options) => (value) => new Intl.NumberFormat(locale, options).format(value);

const en = {
  locale: "en",
  other: "中文",
  percent: number("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }),
  title: "Try the classifier",
  drop: "Drop pictures here, paste them, or choose them.",
  choose: "Choose pictures",
  photograph: "Take a photograph",
  privacy: "The network runs in your browser. Your pictures stay on this device.",
  maps: "Show where the network looked",
  loading: "Loading the network …",
  ready: "Ready.",
  working: (name) => `${name} …`,
  unknown: "unknown",
  doubt: (name, share, least) => `Most like ${name}, but ${share} is less than the ${least} that an answer takes.`,
  rest: (count) => `${count} more`,
  time: (network, all) => `${network} ms for the network, ${all} ms in all`,
  picture: (name) => `The picture ${name}`,
  pasted: "pasted picture",
  about: (classes) => `Knows ${classes.length} classes: ${classes.join(", ")}.`,
  unreadable: "This is no picture that this browser can read. JPEG, PNG, WebP, GIF and BMP always work.",
  tooLarge: (pixels, most) => `${pixels} million pixels are too many: at most ${most} million.`,
  noPicture: "There was no picture in that.",
  noWebAssembly: "This browser has no WebAssembly, or it is switched off (lockdown mode does that). Use another browser.",
  broken: (reason) => `The network cannot be loaded (${reason}). Load the page again; if that does not help, copy its folder again.`,
  failed: (reason) => `The network could not answer (${reason}).`,
};

const zh = {
  locale: "zh-CN",
  other: "English",
  percent: number("zh-CN", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }),
  title: "试试这个分类器",
  drop: "把图片拖到这里、粘贴，或选择图片。",
  choose: "选择图片",
  photograph: "拍照",
  privacy: "网络在您的浏览器中运行，图片不会离开此设备。",
  maps: "显示网络关注的位置",
  loading: "正在加载网络……",
  ready: "就绪。",
  working: (name) => `${name}……`,
  unknown: "未知",
  doubt: (name, share, least) => `最像 ${name}，但 ${share} 低于给出答案所需的 ${least}。`,
  rest: (count) => `其余 ${count} 类`,
  time: (network, all) => `网络 ${network} 毫秒，共 ${all} 毫秒`,
  picture: (name) => `图片 ${name}`,
  pasted: "粘贴的图片",
  about: (classes) => `可识别 ${classes.length} 类：${classes.join("、")}。`,
  unreadable: "此浏览器无法读取该文件为图片。JPEG、PNG、WebP、GIF 和 BMP 均可使用。",
  tooLarge: (pixels, most) => `${pixels} 百万像素过大：最多 ${most} 百万像素。`,
  noPicture: "其中没有图片。",
  noWebAssembly: "此浏览器没有 WebAssembly，或已被关闭（如锁定模式）。请换用其他浏览器。",
  broken: (reason) => `无法加载网络（${reason}）。请重新加载页面；如仍无效，请重新复制其文件夹。`,
  failed: (reason) => `网络无法给出答案（${reason}）。`,
};

/** The words of the visitor's language: Chinese where the browser prefers it, or else English. */
export const preferred = () => (navigator.language.toLowerCase().startsWith("zh") ? zh : en);

/** Those of the other language. */
export const other = (words) => (words === en ? zh : en);
