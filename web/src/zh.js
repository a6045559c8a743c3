// Words of this page in Chinese, by the English ones; the rest is in src/repix/app/page/zh.js.
export const chinese = {
  'Take the rain out of photos': '去除照片中的雨',
  'Drop them anywhere on this page. They stay on this device: the page works them out here and uploads nothing.':
    '把照片拖到页面任意位置即可。照片不会离开本设备：一切都在浏览器中完成，不上传任何内容。',
  'Choose photos': '选择照片', 'Add photos': '添加照片', 'Runs on': '运行于', 'the processor': '处理器', 'the graphics card (not tried on one)': '显卡（尚未试过）',
  'the browser ended it': '浏览器中止了它',
  'Runs on the graphics card. Nobody has tried that yet.': '在显卡上运行。此功能尚未有人试过。',
  'Runs on {} threads of the processor.': '使用处理器的 {} 个线程运行。', 'Runs on one thread of the processor.': '使用处理器的一个线程运行。',
  'Runs on one thread of the processor, because this page is not isolated here.': '由于此页面未被隔离，只使用处理器的一个线程运行。',
  'Loading the network …': '正在加载网络……', 'The network could not be loaded ({}). Load this page again.': '无法加载网络（{}）。请重新打开此页面。',
  'A draft of {} is shown': '已显示 {} 的草稿', 'a draft; the whole follows': '草稿，完整结果随后显示',
  'This browser could not work it out ({}). A smaller photo may do.': '浏览器未能完成（{}）。可以试试较小的照片。',
  '{} is a video; this page takes photos. The program repix takes videos.': '{} 是视频；此页面只接受照片。repix 程序可以处理视频。',
  '{} cannot be read by this browser. It takes JPEG and PNG; the program repix takes more.': '此浏览器无法读取 {}。它接受 JPEG 和 PNG；repix 程序支持更多格式。',
  '{} has {} megapixels; this page takes at most {}. The program repix takes more.': '{} 有 {} 百万像素；此页面最多接受 {}。repix 程序没有这个限制。',
  '{} is damaged.': '{} 已损坏。',
  'Download all that are done ({})': '下载所有已完成的（{}）', 'not kept: {}': '未保留：{}',
  'further images in the file': '文件中的其他图像', 'content credentials': '内容凭证', 'data of a maker': '厂商数据',
  'EXIF, which is damaged': '已损坏的 EXIF', 'XMP that describes further images': '描述其他图像的 XMP', 'CMYK, which became RGB': 'CMYK（已转为 RGB）',
  'the colour profile': '颜色配置文件', 'all frames but the first': '除第一帧外的所有帧',
  'EXIF and colour profile; the result is a PNG': 'EXIF 和颜色配置文件；结果为 PNG',
};
